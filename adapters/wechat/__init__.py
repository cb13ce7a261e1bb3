"""WeChat Official Accounts: articles by draft, published without a notification or, where urgent, mass-sent."""

from collections.abc import Collection

from publisher.contract import Adapter, AdapterContext
from publisher.domain.account import Account

from .adapter import WeChatAdapter
from .api import BASE_URL
from .callback import WeChatCallbacks
from .capabilities import DEFAULTS, get_capabilities
from .validation import find_problems


class WeChatFactory:
    defaults = DEFAULTS
    secret_fields = ("app_id", "app_secret")
    callbacks = WeChatCallbacks()
    capabilities = staticmethod(get_capabilities)
    validate = staticmethod(find_problems)

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return WeChatAdapter(account, context)

    def list_addresses(self, _account: Account) -> Collection[str]:
        return (BASE_URL,)


WECHAT = WeChatFactory()
