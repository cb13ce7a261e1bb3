"""An adapter that reports a lost reply as not sent, so that the post would be sent again."""

from adapters.webhook import WebhookFactory
from adapters.webhook.adapter import WebhookAdapter
from publisher.domain.results import NotSent, Unknown

LOST = {"timeout", "reset", "response_truncated"}


class Hasty(WebhookAdapter):
    async def publish(self, request):
        outcome = await super().publish(request)
        is_connection_lost = isinstance(outcome, Unknown) and outcome.reason in LOST
        return NotSent(reason=outcome.reason) if is_connection_lost else outcome


class HastyFactory(WebhookFactory):
    def create(self, account, context):
        return Hasty(account=account, context=context)
