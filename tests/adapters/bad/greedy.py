"""An adapter that takes the newest post on the first page for its own, and the page's end for the list's."""

from dataclasses import dataclass

from adapters.webhook.client import WebhookAdapter
from adapters.webhook.traits import DEFAULTS
from publisher.domain.outcome import Missing, Published, Receipt, Unread

PAGE = 10


class Greedy(WebhookAdapter):
    async def find(self, parcel):
        page = await self.recent()
        if isinstance(page, Unread):
            return page
        for sighting in page[:PAGE]:
            if sighting.live_at > parcel.baseline.since:
                receipt = Receipt(remote_id=sighting.remote_id, url=sighting.url, live_at=sighting.live_at)
                return Published(receipt=receipt)
        return Missing(back_to=parcel.baseline.since)


@dataclass(frozen=True)
class GreedyFactory:
    defaults = DEFAULTS

    def create(self, account, kit):
        return Greedy(account=account, kit=kit)
