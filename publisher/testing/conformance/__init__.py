"""The conformance kit: what every adapter must keep, shown by running it against a double of its platform.

Subclass `AdapterConformance` in a test module, say what it is about, and let pytest (with pytest-asyncio) run it:

    class TestMine(AdapterConformance):
        factory = MINE
        account = Account(...)
        rendition = staticmethod(sample)

        @asynccontextmanager
        async def double(self): ...
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest

from publisher.contract import AdapterFactory
from publisher.domain.account import Account
from publisher.domain.rendition import Marker, Rendition
from publisher.testing.conformance.double import Double, Spot, Standing
from publisher.testing.conformance.manners import Manners
from publisher.testing.conformance.publishing import Publishing
from publisher.testing.conformance.reading import Reading
from publisher.testing.conformance.rules import BrokenRuleError, Rule
from publisher.testing.conformance.stage import Stage

__all__ = ["AdapterConformance", "BrokenRuleError", "Double", "Rule", "Spot", "Standing"]


@pytest.mark.asyncio
class AdapterConformance(Publishing, Reading, Manners):
    """All rules. A subclass names the adapter, its account, a sample of what it publishes, and opens the double."""

    factory: AdapterFactory
    account: Account
    images: tuple[bytes, ...] = ()
    rendition: Callable[[Marker], Rendition]
    """Write the sample for a marker; `images` go with its pictures. A staticmethod."""

    def double(self) -> AbstractAsyncContextManager[tuple[Double, Mapping[str, str]]]:
        """Start a double with the account on it; give it and the login's secret."""
        raise NotImplementedError

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        """Put the adapter and its double on a fresh stage."""
        async with self.double() as (double, secret):
            stage = Stage(
                double=double,
                factory=self.factory,
                account=replace(self.account, base_url=double.base_url),
                secret=secret,
                rendition=self.rendition,
                images=self.images,
            )
            await stage.prepare()
            yield stage
