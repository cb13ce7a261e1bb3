"""A signed call to a receiver of one's own: any site that implements the endpoints named in `api.py`."""

from collections.abc import Collection
from dataclasses import dataclass

from publisher.contract import Adapter, AdapterContext, PlatformDefaults
from publisher.domain.account import Account

from .adapter import WebhookAdapter
from .capabilities import DEFAULTS
from .validation import get_base_url


@dataclass(frozen=True, slots=True)
class WebhookFactory:
    defaults: PlatformDefaults = DEFAULTS

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return WebhookAdapter(account=account, context=context)

    def list_addresses(self, account: Account) -> Collection[str]:
        address = get_base_url(account)
        return (address,) if address else ()


WEBHOOK = WebhookFactory()
