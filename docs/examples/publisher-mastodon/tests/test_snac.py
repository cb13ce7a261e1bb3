"""The adapter passes the conformance kit against snac as well, a real server that others wrote."""

import shutil
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from snac import USERNAME, serve_snac
from test_conformance import TestMastodon as OverDouble

pytestmark = pytest.mark.skipif(
    shutil.which("snac") is None, reason="NO SNAC: apt-get install snac2"
)


class TestSnac(OverDouble):
    """snac acts at once, has no call to delete a post, and ignores the idempotency key."""

    settle_time = timedelta(0)
    has_idempotency_key = False
    later_post_count = 10
    response_format = replace(OverDouble.response_format, identity=USERNAME)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def server(cls, tmp_path_factory):
        """Serve snac for all checks: markers differ in each run."""
        with serve_snac(tmp_path_factory.mktemp("snac") / "data") as server:
            cls.snac = server
            cls.account = replace(
                OverDouble.account,
                identity=server.identity,
                options={"can_delete": "no"},
            )
            yield

    @asynccontextmanager
    async def open_platform(self):
        yield self.snac, {"access_token": self.snac.token}
