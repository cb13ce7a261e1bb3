"""WeChat Official Accounts: articles by draft.

They are published without a notification or, if urgent, mass-sent.
"""

from publisher.contract import Adapter, AdapterContext, OptionalHooks, read_messages
from publisher.domain.account import Account

from .adapter import WeChatAdapter
from .api import BASE_URL
from .callback import WeChatCallbacks
from .capabilities import DEFAULTS, get_call_method, get_capabilities
from .validation import find_account_problems, find_problems


class WeChatFactory(OptionalHooks):
    contract = 1
    defaults = DEFAULTS
    messages = read_messages(__name__)
    display_name = messages["platform_wechat"]
    secret_fields = ("app_id", "app_secret")
    public_fields = ("app_id",)
    callbacks = WeChatCallbacks()
    capabilities = staticmethod(get_capabilities)
    validate = staticmethod(find_problems)
    check_account = staticmethod(find_account_problems)
    call_method = staticmethod(get_call_method)

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return WeChatAdapter(account, context)

    def hosts(self, account: Account) -> tuple[str, ...]:  # noqa: ARG002 # the same for all
        return (BASE_URL,)


WECHAT = WeChatFactory()
