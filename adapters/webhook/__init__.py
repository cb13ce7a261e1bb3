"""A signed call to a receiver of one's own.

It is any site that implements the endpoints named in `api.py`.
"""

from publisher.contract import Adapter, AdapterContext, OptionalHooks, read_messages
from publisher.domain.account import Account

from .adapter import WebhookAdapter
from .capabilities import DEFAULTS, get_base_url, get_capabilities
from .validation import find_account_problems, find_problems


class WebhookFactory(OptionalHooks):
    contract = 1
    defaults = DEFAULTS
    messages = read_messages(__name__)
    display_name = messages["platform_webhook"]
    secret_fields = ("key",)
    capabilities = staticmethod(get_capabilities)
    validate = staticmethod(find_problems)
    check_account = staticmethod(find_account_problems)

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return WebhookAdapter(account=account, context=context)

    def hosts(self, account: Account) -> tuple[str, ...]:
        address = get_base_url(account)
        return (address,) if address else ()


WEBHOOK = WebhookFactory()
