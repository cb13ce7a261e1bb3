"""Baidu Tieba, by the account holder's own session. There is no official interface; see `codes.py` and `api.py`."""

from collections.abc import Collection

from publisher.contract import Adapter, AdapterContext
from publisher.domain.account import Account

from .adapter import TiebaAdapter
from .api import PLATFORM_URLS
from .capabilities import DEFAULTS, get_capabilities
from .validation import find_problems


class TiebaFactory:
    defaults = DEFAULTS
    secret_fields = ("BDUSS", "STOKEN")
    capabilities = staticmethod(get_capabilities)
    validate = staticmethod(find_problems)

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return TiebaAdapter(account=account, context=context)

    def list_addresses(self, _account: Account) -> Collection[str]:
        return PLATFORM_URLS


TIEBA = TiebaFactory()
