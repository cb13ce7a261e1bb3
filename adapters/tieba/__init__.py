"""Baidu Tieba, by the account holder's own session. There is no official interface; see `codes.py` and `wire.py`."""

from collections.abc import Collection
from dataclasses import dataclass

from publisher.contract import Adapter, AdapterKit, Defaults
from publisher.domain.account import Account

from .client import TiebaAdapter
from .traits import DEFAULTS
from .wire import ADDRESSES


@dataclass(frozen=True, slots=True)
class TiebaFactory:
    defaults: Defaults = DEFAULTS

    def create(self, account: Account, kit: AdapterKit) -> Adapter:
        return TiebaAdapter(account=account, kit=kit)

    def addresses(self, _account: Account) -> Collection[str]:
        return ADDRESSES


TIEBA = TiebaFactory()
