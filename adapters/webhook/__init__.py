"""A signed call to a receiver of one's own: any site that keeps to the few answers named in `wire.py`."""

from collections.abc import Collection
from dataclasses import dataclass

from publisher.contract import Adapter, AdapterKit, Defaults
from publisher.domain.account import Account

from .checking import address_of
from .client import WebhookAdapter
from .traits import DEFAULTS


@dataclass(frozen=True, slots=True)
class WebhookFactory:
    defaults: Defaults = DEFAULTS

    def create(self, account: Account, kit: AdapterKit) -> Adapter:
        return WebhookAdapter(account=account, kit=kit)

    def addresses(self, account: Account) -> Collection[str]:
        address = address_of(account)
        return (address,) if address else ()


WEBHOOK = WebhookFactory()
