"""An adapter that takes the newest post for its own, and the end of the first page for the end of the list."""

from adapters.webhook import WebhookFactory
from adapters.webhook.adapter import WebhookAdapter
from publisher.domain.results import NotFound, Published, ReadFailure, Receipt

PAGE = 10


class Greedy(WebhookAdapter):
    async def find_post(self, request):
        page = await self.list_recent()
        if isinstance(page, ReadFailure):
            return page
        for sighting in page[:PAGE]:
            if sighting.published_at > request.baseline.taken_at:
                receipt = Receipt(remote_id=sighting.remote_id, url=sighting.url, published_at=sighting.published_at)
                return Published(receipt=receipt)
        return NotFound(covered_since=request.baseline.taken_at)


class GreedyFactory(WebhookFactory):
    def create(self, account, context):
        return Greedy(account=account, context=context)
