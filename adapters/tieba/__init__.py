"""Baidu Tieba, by the account holder's own session. There is no official interface; see `codes.py` and `api.py`."""

from collections.abc import Collection
from dataclasses import dataclass

from publisher.contract import Adapter, AdapterContext, PlatformDefaults
from publisher.domain.account import Account

from .adapter import TiebaAdapter
from .api import PLATFORM_URLS
from .capabilities import DEFAULTS


@dataclass(frozen=True, slots=True)
class TiebaFactory:
    defaults: PlatformDefaults = DEFAULTS

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return TiebaAdapter(account=account, context=context)

    def list_addresses(self, _account: Account) -> Collection[str]:
        return PLATFORM_URLS


TIEBA = TiebaFactory()
