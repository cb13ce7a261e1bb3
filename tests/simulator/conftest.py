"""A simulator in process, and the callers that several files share."""

import httpx
import pytest

from publisher.simulator import create_app
from tests.simulator.tieba_calls import Tieba
from tests.simulator.wechat_calls import stable


@pytest.fixture
async def sim():
    """Yield a client of a fresh simulator."""
    transport = httpx.ASGITransport(create_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://sim") as client:
        yield client


@pytest.fixture
def tieba(sim):
    """Return the first author on Tieba."""
    return Tieba(sim)


@pytest.fixture
async def token(sim):
    """Return a token of the WeChat account."""
    return (await stable(sim))["access_token"]
