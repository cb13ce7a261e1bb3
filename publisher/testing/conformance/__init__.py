"""The conformance kit: rules for every adapter, checked by running it against a test server of its platform.

Subclass `AdapterConformance` in a test module, set its fields, and run it by pytest (with pytest-asyncio):

    class TestMine(AdapterConformance):
        factory = MINE
        account = Account(...)
        render_sample = staticmethod(sample)

        @asynccontextmanager
        async def open_platform(self): ...
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest
import pytest_asyncio

from publisher.contract import AdapterFactory
from publisher.domain.account import Account
from publisher.domain.post import Marker, RenderedPost
from publisher.testing.conformance.general_checks import GeneralChecks
from publisher.testing.conformance.harness import FaultTarget, Harness, PlatformDouble, PlatformPost
from publisher.testing.conformance.publish_checks import PublishChecks
from publisher.testing.conformance.readback_checks import ReadChecks
from publisher.testing.conformance.verdicts import BrokenRuleError, ConformanceRule

__all__ = ["AdapterConformance", "BrokenRuleError", "ConformanceRule", "FaultTarget", "PlatformDouble", "PlatformPost"]


@pytest.mark.asyncio
class AdapterConformance(PublishChecks, ReadChecks, GeneralChecks, ABC):
    """All rules. A subclass sets the adapter, its account and a sample post, and opens the test server."""

    factory: AdapterFactory
    account: Account
    images: tuple[bytes, ...] = ()
    render_sample: Callable[[Marker], RenderedPost]
    """Return the sample post for a marker, with its pictures in `images`. A staticmethod."""

    @abstractmethod
    def open_platform(self) -> AbstractAsyncContextManager[tuple[PlatformDouble, Mapping[str, str]]]:
        """Start a test server with the account on it; yield the server and the login's secret."""

    @pytest_asyncio.fixture
    async def harness(self) -> AsyncIterator[Harness]:
        """Yield a fresh harness for the adapter and its test server."""
        async with self.open_platform() as (platform, secret):
            harness = Harness(
                platform=platform,
                factory=self.factory,
                account=replace(self.account, base_url=platform.base_url),
                secret=secret,
                render_sample=self.render_sample,
                images=self.images,
            )
            await harness.prepare()
            yield harness
