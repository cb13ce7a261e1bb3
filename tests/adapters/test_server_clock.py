"""Every platform gives its time in a call that costs a login nothing."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters._http import LoginHttp
from adapters.tieba import TIEBA
from adapters.wechat import WECHAT
from adapters.weibo import WEIBO
from publisher.contract import AdapterContext
from publisher.domain.account import Account, AccountId, Platform
from publisher.runtime.clock import Runtime
from publisher.simulator import create_app
from tests.unguarded import UNGUARDED

HOST = "http://127.0.0.1:8710"
FACTORIES = {"weibo": WEIBO, "wechat": WECHAT, "tieba": TIEBA}


def adapter_over(transport, make_server, platform, heard):
    spare = make_server({}).context()
    http = LoginHttp(
        transport=transport,
        request_timeout=timedelta(seconds=5),
        monotonic=lambda: 100.0,
        failpoint=lambda _name: None,
        is_host_allowed=lambda host: host == "127.0.0.1",
        **{**UNGUARDED, "is_clock_confirmed": lambda: False},
        on_date_header=heard,
    )
    context = AdapterContext(
        http=http,
        secret=dict,
        tokens=spare.tokens,
        state=spare.state,
        now=lambda: datetime.now(UTC),
        failpoint=spare.failpoint,
    )
    account = Account(
        id=AccountId("a"),
        platform=Platform(platform),
        identity="1",
        secret="s",
        base_url=f"{HOST}/",
    )
    return FACTORIES[platform].create(account, context)


@pytest.mark.parametrize("shift", [0, -900])
@pytest.mark.parametrize("platform", FACTORIES)
async def test_its_reply_is_dated_by_the_platforms_own_clock(
    make_server, platform, shift
):
    """F60, F61: the reply to a call without credentials is dated by the platform's clock.

    The platform does not count the call. The right time confirms the clock.
    """
    transport, runtime = httpx.ASGITransport(app=create_app()), Runtime()
    adapter = adapter_over(
        transport,
        make_server,
        platform,
        lambda date, _started_at: runtime.check_server_date(date, runtime.monotonic()),
    )
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as control:
        await control.post("/_sim/clock", json={"shift": shift})
        await adapter.fetch_time()
        assert (await control.get("/_sim/log")).json() == []
    assert runtime.is_clock_confirmed() is (shift == 0)
    assert (runtime.server_clock_offset is None) is (shift == 0)
