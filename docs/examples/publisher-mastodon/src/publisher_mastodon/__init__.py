"""Mastodon, and servers that speak its API: posts with pictures, found again by reading the account."""

from collections.abc import Collection

from publisher.contract import Adapter, AdapterContext
from publisher.domain.account import Account

from .adapter import MastodonAdapter
from .capabilities import DEFAULTS, find_problems, get_base_url, get_capabilities


class MastodonFactory:
    defaults = DEFAULTS
    secret_fields = ("access_token",)
    capabilities = staticmethod(get_capabilities)
    validate = staticmethod(find_problems)

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        return MastodonAdapter(account=account, context=context)

    def list_addresses(self, account: Account) -> Collection[str]:
        return (get_base_url(account),)


MASTODON = MastodonFactory()
