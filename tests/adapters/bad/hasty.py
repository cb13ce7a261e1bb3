"""An adapter that takes silence for refusal: a lost reply is called unsent, and would be sent again."""

from dataclasses import dataclass

from adapters.webhook.client import WebhookAdapter
from adapters.webhook.traits import DEFAULTS
from publisher.domain.outcome import NotSent, Unknown

LOST = {"timeout", "reset", "reply_cut"}


class Hasty(WebhookAdapter):
    async def publish(self, parcel):
        outcome = await super().publish(parcel)
        is_lost = isinstance(outcome, Unknown) and outcome.reason in LOST
        return NotSent(reason=outcome.reason) if is_lost else outcome


@dataclass(frozen=True)
class HastyFactory:
    defaults = DEFAULTS

    def create(self, account, kit):
        return Hasty(account=account, kit=kit)
