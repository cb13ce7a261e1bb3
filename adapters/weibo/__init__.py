"""Sina Weibo, through the open platform's `share` call."""

from dataclasses import dataclass

from publisher.contract import Adapter, AdapterKit, Defaults
from publisher.domain.account import Account

from .client import WeiboAdapter
from .traits import DEFAULTS


@dataclass(frozen=True, slots=True)
class WeiboFactory:
    defaults: Defaults = DEFAULTS

    def create(self, account: Account, kit: AdapterKit) -> Adapter:
        return WeiboAdapter(account=account, kit=kit)


WEIBO = WeiboFactory()
