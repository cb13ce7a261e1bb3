"""Sina Weibo, through the open platform: the calls that an account's profile names."""

from collections.abc import Collection
from dataclasses import dataclass

from publisher.contract import Adapter, AdapterKit, Defaults, SignIn
from publisher.domain.account import Account

from .client import WeiboAdapter
from .profiles import ADDRESSES
from .sign_in import WeiboSignIn
from .traits import DEFAULTS


@dataclass(frozen=True, slots=True)
class WeiboFactory:
    defaults: Defaults = DEFAULTS
    sign_in: SignIn = WeiboSignIn()  # noqa: RUF009 # frozen, without a field

    def create(self, account: Account, kit: AdapterKit) -> Adapter:
        return WeiboAdapter(account=account, kit=kit)

    def addresses(self, _account: Account) -> Collection[str]:
        return ADDRESSES


WEIBO = WeiboFactory()
