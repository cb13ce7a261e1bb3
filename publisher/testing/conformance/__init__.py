"""The conformance kit: rules for every adapter.

The kit checks them by running the adapter against a test server of its platform. Subclass
`AdapterConformance` in a test module, set its fields, and run it by pytest (with pytest-asyncio):

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
from datetime import timedelta

import pytest
import pytest_asyncio

from publisher.contract import AdapterFactory
from publisher.domain.account import Account
from publisher.domain.post import Marker, RenderedPost
from publisher.testing.conformance.general_checks import GeneralChecks
from publisher.testing.conformance.harness import (
    FaultInjector,
    FaultTarget,
    Harness,
    MovableClock,
    PlatformPost,
    PlatformServer,
)
from publisher.testing.conformance.publish_checks import PublishChecks
from publisher.testing.conformance.readback_checks import ReadChecks
from publisher.testing.conformance.rules import BrokenRuleError, ConformanceRule
from publisher.testing.fault_front import (
    FrontResponse,
    ResponseFormat,
    open_fault_front,
)

__all__ = [
    "AdapterConformance",
    "BrokenRuleError",
    "ConformanceRule",
    "FaultInjector",
    "FaultTarget",
    "FrontResponse",
    "Harness",
    "MovableClock",
    "PlatformPost",
    "PlatformServer",
    "ResponseFormat",
]


@pytest.mark.asyncio
class AdapterConformance(PublishChecks, ReadChecks, GeneralChecks, ABC):
    """All rules.

    A subclass sets the adapter, its account and a sample post, and opens the platform's server.
    """

    factory: AdapterFactory
    account: Account
    images: tuple[bytes, ...] = ()
    render_sample: Callable[[Marker], RenderedPost]
    """Return the sample post for a marker, with its pictures in `images`. A staticmethod."""
    response_format: ResponseFormat | None = None
    """How the platform's JSON looks, where its server does not make such faults itself."""
    settle_time: timedelta = timedelta(seconds=1)
    """The maximum delay of late effects on a server with a clock that cannot be moved."""

    @abstractmethod
    def open_platform(
        self,
    ) -> AbstractAsyncContextManager[tuple[PlatformServer, Mapping[str, str]]]:
        """Start a server with the account on it; yield the server and the login's secret."""

    @pytest_asyncio.fixture
    async def harness(self) -> AsyncIterator[Harness]:
        """Yield a fresh harness for the adapter and its platform, behind a fault front."""
        async with (
            self.open_platform() as (platform, secret),
            open_fault_front(
                platform.base_url, response_format=self.response_format
            ) as front,
        ):
            harness = Harness(
                platform=platform,
                front=front,
                factory=self.factory,
                account=replace(self.account, base_url=front.base_url),
                secret=secret,
                render_sample=self.render_sample,
                images=self.images,
                not_shown=self.not_shown,
                settle_time=self.settle_time,
            )
            await harness.prepare()
            yield harness
