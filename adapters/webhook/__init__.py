"""A signed call to a receiver of one's own: any site that implements the endpoints named in `api.py`."""

from collections.abc import Collection

from publisher.contract import Adapter, AdapterContext
from publisher.domain.account import Account

from .adapter import WebhookAdapter
from .capabilities import DEFAULTS, get_base_url, get_capabilities
from .validation import find_problems


class WebhookFactory:
    defaults = DEFAULTS
    secret_fields = ("key",)
    capabilities = staticmethod(get_capabilities)
    validate = staticmethod(find_problems)

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return WebhookAdapter(account=account, context=context)

    def list_addresses(self, account: Account) -> Collection[str]:
        address = get_base_url(account)
        return (address,) if address else ()


WEBHOOK = WebhookFactory()
