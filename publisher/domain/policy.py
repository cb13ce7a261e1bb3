"""What the core keeps to for one account: its limits, its waits, and what its platform allows."""

from dataclasses import dataclass

from publisher.domain.account import Account, Capabilities
from publisher.domain.rate_limit import RateLimit
from publisher.domain.timing import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPolicy:
    """One account's terms, as its adapter and the operator together set them."""

    account: Account
    capabilities: Capabilities
    rate_limit: RateLimit
    timing: Timing
