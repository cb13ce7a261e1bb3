"""WeChat Official Accounts: articles by draft, published without a notification or, where urgent, mass-sent."""

from collections.abc import Collection
from dataclasses import dataclass

from publisher.contract import Adapter, AdapterKit, Callbacks, Defaults
from publisher.domain.account import Account

from .callback import WeChatCallbacks
from .client import WeChat
from .traits import DEFAULTS
from .wire import BASE_URL


@dataclass(frozen=True, slots=True, kw_only=True)
class WeChatFactory:
    """Builds the adapter of one account."""

    defaults: Defaults = DEFAULTS
    callbacks: Callbacks = WeChatCallbacks()  # noqa: RUF009 # it has no state

    def create(self, account: Account, kit: AdapterKit) -> Adapter:
        return WeChat(account, kit)

    def addresses(self, _account: Account) -> Collection[str]:
        return (BASE_URL,)


WECHAT = WeChatFactory()
