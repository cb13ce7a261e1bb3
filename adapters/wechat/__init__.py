"""WeChat Official Accounts: articles by draft, published without a notification or, where urgent, mass-sent."""

from collections.abc import Collection
from dataclasses import dataclass

from publisher.contract import Adapter, AdapterContext, PlatformCallbacks, PlatformDefaults
from publisher.domain.account import Account

from .adapter import WeChatAdapter
from .api import BASE_URL
from .callback import WeChatCallbacks
from .capabilities import DEFAULTS


@dataclass(frozen=True, slots=True, kw_only=True)
class WeChatFactory:
    defaults: PlatformDefaults = DEFAULTS
    callbacks: PlatformCallbacks = WeChatCallbacks()  # noqa: RUF009 # it has no state

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return WeChatAdapter(account, context)

    def list_addresses(self, _account: Account) -> Collection[str]:
        return (BASE_URL,)


WECHAT = WeChatFactory()
