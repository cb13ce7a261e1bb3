"""WeChat Official Accounts: articles published without a notification, by draft and submission."""

from dataclasses import dataclass

from publisher.contract import Adapter, AdapterKit, Defaults
from publisher.domain.account import Account

from .client import WeChat
from .traits import DEFAULTS


@dataclass(frozen=True, slots=True, kw_only=True)
class WeChatFactory:
    """Builds the adapter of one account."""

    defaults: Defaults = DEFAULTS

    def create(self, account: Account, kit: AdapterKit) -> Adapter:
        return WeChat(account, kit)


WECHAT = WeChatFactory()
