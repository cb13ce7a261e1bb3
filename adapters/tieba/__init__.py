"""Baidu Tieba, by the account holder's own session.

There is no official interface; see `codes.py` and `api.py`.
"""

from publisher.contract import Adapter, AdapterContext, OptionalHooks, read_messages
from publisher.domain.account import Account

from .adapter import TiebaAdapter
from .api import PLATFORM_URLS
from .capabilities import DEFAULTS, get_capabilities
from .validation import find_account_problems, find_problems


class TiebaFactory(OptionalHooks):
    contract = 1
    defaults = DEFAULTS
    messages = read_messages(__name__)
    display_name = messages["platform_tieba"]
    secret_fields = ("BDUSS", "STOKEN")
    capabilities = staticmethod(get_capabilities)
    validate = staticmethod(find_problems)
    check_account = staticmethod(find_account_problems)

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return TiebaAdapter(account=account, context=context)

    def hosts(self, account: Account) -> tuple[str, ...]:  # noqa: ARG002 # the same for all
        return PLATFORM_URLS


TIEBA = TiebaFactory()
