"""Whose secret it is: asked of the platform once for each secret, before anything is created with it.

An account's secret may be replaced by that of another account. Some platforms would then publish there.
"""

import asyncio
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from publisher.contract import Adapter
from publisher.domain.account import Account, AccountId, AccountPolicy
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    HealthCheckResult,
    Healthy,
    HoldReason,
    NotSent,
    RateLimited,
    result_code,
)
from publisher.engine.calls import TIME_LIMIT, call_adapter
from publisher.runtime.logs import log
from publisher.secrets import SecretError
from publisher.store.monitor.login_health import SAME_ACCOUNT
from publisher.store.store import Store
from publisher.store.system_alerts import is_outage

ReadSecret = Callable[[], Mapping[str, str]]
Refusal = NotSent | CredentialExpired | RateLimited
"""Why nothing is created with a secret."""
MAX_CHECKS = 3
"""How many secrets of one account are asked for in a row, where each is replaced while the platform answers."""
SECRET_CHANGED, SECRET_UNCHECKED = "secret_changed", "secret_unchecked"


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialCheck:
    """Verifies the secrets of accounts. An account without a secret is left to its adapter."""

    store: Store
    adapters: Mapping[AccountId, Adapter]
    secrets: Mapping[AccountId, ReadSecret] = field(default_factory=dict, repr=False)
    _key: list[bytes] = field(default_factory=list, repr=False)
    _verified: dict[AccountId, str] = field(default_factory=dict, repr=False)

    async def verify(self, account: AccountId) -> Refusal | None:
        """Return why nothing may be created with an account's present secret; None once it is known to be its own.

        The platform is asked once for each secret, and has `request_timeout` to answer: the lease is longer.
        """
        policy = self.store.policies[account]
        try:
            async with asyncio.timeout(policy.timing.request_timeout.total_seconds()):
                return await self._verify(policy)
        except TimeoutError:
            return NotSent(reason=TIME_LIMIT)
        except SecretError as error:
            return NotSent(reason=error.code)
        except Exception as error:
            if not is_outage(error):
                raise
            return NotSent(reason=SECRET_UNCHECKED)

    async def _verify(self, policy: AccountPolicy) -> Refusal | None:
        account = policy.account.id
        for _ in range(MAX_CHECKS):  # it may be replaced again while the platform is asked
            if await self._is_verified_or_unused(policy.account):
                return None
            health = await self.check_health(account, policy.timing.request_timeout)
            log.info("secret_checked", account=account, health=result_code(health))
            match health:
                case Healthy():
                    pass
                case Blocked():
                    await self.store.login_health.record_refused(policy.account, health)
                    return NotSent(reason=health.code)
                case CredentialExpired() | RateLimited():
                    return health
                case _:
                    return NotSent(reason=health.reason)
        return None if await self._is_verified_or_unused(policy.account) else NotSent(reason=SECRET_CHANGED)

    async def _is_verified_or_unused(self, account: Account) -> bool:
        """Return True if the present secret is known to be the account's, or is not there, or people post there."""
        fingerprint = await self._read_fingerprint(account.id)
        if fingerprint is None or self._verified.get(account.id) == fingerprint:
            return True
        state = await self.store.login_health.read_secret_state(account)
        if state.verified == fingerprint:
            self._verified[account.id] = fingerprint
        return state.verified == fingerprint or not state.is_used

    async def check_health(self, account: AccountId, time_limit: timedelta) -> HealthCheckResult:
        """Check an account's login. Where it works, the secret that it was checked with counts as verified.

        Blocked, and paused, is one that the platform reports to be another account of ours, by another spelling.
        """
        before = await self._read_fingerprint_if_readable(account)
        health = await call_adapter(self.adapters[account].check_health(), time_limit)
        # if it has changed meanwhile, nobody knows which one was checked
        if isinstance(health, Healthy) and before and before == await self._read_fingerprint_if_readable(account):
            known = self.store.policies[account].account
            other = await self.store.login_health.record_verified(known, before, health.identity)
            if other is not None:
                self._verified.pop(account, None)
                return Blocked(code=SAME_ACCOUNT, reason=other, hold_reason=HoldReason.WRONG_ACCOUNT)
            self._verified[account] = before
        return health

    async def _read_fingerprint_if_readable(self, account: AccountId) -> str | None:
        try:
            return await self._read_fingerprint(account)
        except SecretError:
            return None

    async def _read_fingerprint(self, account: AccountId) -> str | None:
        """Return the keyed hash of an account's present secret, None without one. Raises SecretError."""
        read = self.secrets.get(account)
        if read is None or not (fields := read()):
            return None
        if not self._key:
            self._key.append(await self.store.login_health.credential_key())
        canonical = json.dumps(fields, sort_keys=True).encode()
        return hmac.digest(self._key[0], canonical, "sha256").hex()
