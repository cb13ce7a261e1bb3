"""Sina Weibo, through the open platform: the calls that an account's profile permits."""

from collections.abc import Collection
from dataclasses import dataclass

from publisher.contract import Adapter, AdapterContext, LoginFlow, PlatformDefaults
from publisher.domain.account import Account

from .adapter import WeiboAdapter
from .capabilities import DEFAULTS
from .oauth import WeiboOAuthLogin
from .profiles import PLATFORM_URLS


@dataclass(frozen=True, slots=True)
class WeiboFactory:
    defaults: PlatformDefaults = DEFAULTS
    sign_in: LoginFlow = WeiboOAuthLogin()  # noqa: RUF009 # frozen, without a field

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return WeiboAdapter(account=account, context=context)

    def list_addresses(self, _account: Account) -> Collection[str]:
        return PLATFORM_URLS


WEIBO = WeiboFactory()
