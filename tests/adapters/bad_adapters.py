"""Two adapters that must fail the conformance kit; `test_conformance_kit.py` runs this file."""

from adapters.webhook import WebhookFactory
from adapters.webhook.adapter import WebhookAdapter
from publisher.domain.results import NotFound, NotSent, Published, ReadFailure, Receipt, Unknown
from tests.adapters.test_conformance import TestWebhook as Sound

LOST = {"timeout", "reset", "response_truncated"}
PAGE = 10


class Hasty(WebhookAdapter):
    """Reports a lost reply as not sent, so that the post would be sent again."""

    async def publish(self, request):
        outcome = await super().publish(request)
        is_connection_lost = isinstance(outcome, Unknown) and outcome.reason in LOST
        return NotSent(reason=outcome.reason) if is_connection_lost else outcome


class Greedy(WebhookAdapter):
    """Takes the newest post for its own, and the end of the first page for the end of the list."""

    async def find_post(self, request):
        page = await self.list_recent()
        if isinstance(page, ReadFailure):
            return page
        for sighting in page[:PAGE]:
            if sighting.published_at > request.baseline.taken_at:
                receipt = Receipt(remote_id=sighting.remote_id, url=sighting.url, published_at=sighting.published_at)
                return Published(receipt=receipt)
        return NotFound(covered_since=request.baseline.taken_at)


class HastyFactory(WebhookFactory):
    def create(self, account, context):
        return Hasty(account=account, context=context)


class GreedyFactory(WebhookFactory):
    def create(self, account, context):
        return Greedy(account=account, context=context)


class TestHasty(Sound):
    factory = HastyFactory()


class TestGreedy(Sound):
    factory = GreedyFactory()


del Sound  # run by test_conformance_kit.py, not collected here
