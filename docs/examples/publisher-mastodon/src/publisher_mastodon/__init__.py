"""Mastodon, and servers that speak its API: posts with pictures, found by reading the account."""

from publisher.contract import Adapter, AdapterContext, OptionalHooks, read_messages
from publisher.domain.account import Account

from .adapter import MastodonAdapter
from .capabilities import (
    DEFAULTS,
    find_account_problems,
    find_problems,
    get_base_url,
    get_capabilities,
)


class MastodonFactory(OptionalHooks):
    contract = 1
    display_name = {"zh_CN": "Mastodon", "en": "Mastodon"}  # noqa: RUF012 # read only
    messages = read_messages(__name__)
    secret_fields = ("access_token",)
    defaults = DEFAULTS
    capabilities = staticmethod(get_capabilities)
    validate = staticmethod(find_problems)
    check_account = staticmethod(find_account_problems)

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return MastodonAdapter(account=account, context=context)

    def hosts(self, account: Account) -> tuple[str, ...]:
        return (get_base_url(account),)


MASTODON = MastodonFactory()
