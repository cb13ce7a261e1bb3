"""What the core keeps to for one account: its limits, its waits, and what its platform allows."""

from dataclasses import dataclass

from publisher.domain.account import Account, Traits
from publisher.domain.patience import Patience
from publisher.domain.quota import Quota


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """One account's terms, as its adapter and the operator together set them."""

    account: Account
    traits: Traits
    quota: Quota
    patience: Patience
