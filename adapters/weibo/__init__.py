"""Sina Weibo, through the open platform: the calls that an account's profile permits."""

from publisher.contract import Adapter, AdapterContext, OptionalHooks, read_messages
from publisher.domain.account import Account

from .adapter import WeiboAdapter
from .capabilities import DEFAULTS, PLATFORM_URLS, get_call_method, get_capabilities
from .oauth import WeiboOAuthLogin
from .validation import find_account_problems, find_problems


class WeiboFactory(OptionalHooks):
    contract = 1
    defaults = DEFAULTS
    messages = read_messages(__name__)
    display_name = messages["platform_weibo"]
    secret_fields = ("app_key", "app_secret")
    public_fields = ("app_key",)
    sign_in = WeiboOAuthLogin()
    capabilities = staticmethod(get_capabilities)
    validate = staticmethod(find_problems)
    check_account = staticmethod(find_account_problems)
    call_method = staticmethod(get_call_method)

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return WeiboAdapter(account=account, context=context)

    def hosts(self, account: Account) -> tuple[str, ...]:  # noqa: ARG002 # the same for all
        return PLATFORM_URLS


WEIBO = WeiboFactory()
