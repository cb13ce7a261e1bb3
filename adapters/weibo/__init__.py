"""Sina Weibo, through the open platform: the calls that an account's profile permits."""

from collections.abc import Collection

from publisher.contract import Adapter, AdapterContext
from publisher.domain.account import Account

from .adapter import WeiboAdapter
from .capabilities import DEFAULTS, PLATFORM_URLS, get_capabilities
from .oauth import WeiboOAuthLogin
from .validation import find_problems


class WeiboFactory:
    defaults = DEFAULTS
    secret_fields = ("app_key", "app_secret")
    sign_in = WeiboOAuthLogin()
    capabilities = staticmethod(get_capabilities)
    validate = staticmethod(find_problems)

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return WeiboAdapter(account=account, context=context)

    def list_addresses(self, _account: Account) -> Collection[str]:
        return PLATFORM_URLS


WEIBO = WeiboFactory()
