"""The owner of a secret: the platform is asked once for each secret before anything is created.

An account's secret may be replaced by that of another account. Some platforms would then publish
there.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
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
    Unknown,
    result_code,
)
from publisher.engine.calls import call_adapter
from publisher.runtime.logs import log
from publisher.secrets import LoginSecret, SecretError, hash_fields
from publisher.store.monitor.login_health import SAME_ACCOUNT
from publisher.store.store import Store
from publisher.store.system_alerts import is_outage

Refusal = NotSent | CredentialExpired | RateLimited
"""Why nothing is created with a secret."""
SECRET_UNCHECKED = "secret_unchecked"  # noqa: S105 # a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class InconclusiveCheck:
    """An inconclusive check of a secret. The platform is not asked again until an instant."""

    fingerprint: str
    refusal: NotSent
    ask_again_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretCheck:
    """The result of a check. `is_new`: the login works, with another secret than it did before."""

    health: HealthCheckResult
    is_new: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialCheck:
    """Verifies the secrets of accounts. A secret that is missing or broken is named as that."""

    store: Store
    adapters: Mapping[AccountId, Adapter]
    secrets: Mapping[AccountId, LoginSecret] = field(default_factory=dict)
    _key: list[bytes] = field(default_factory=list, repr=False)
    _verified: dict[AccountId, str] = field(default_factory=dict, repr=False)
    _inconclusive: dict[AccountId, InconclusiveCheck] = field(
        default_factory=dict, repr=False
    )

    @contextlib.asynccontextmanager
    async def verified(self, account: AccountId) -> AsyncIterator[Refusal | None]:
        """Yield the reason to create nothing with an account's secret; None if it is its own.

        Until the end, the calls of this task use the same secret, so that no unchecked secret is
        used.
        """
        with contextlib.ExitStack() as stack:
            if account not in self.secrets:
                yield None
                return
            try:
                fields = stack.enter_context(self.secrets[account].held())
            except SecretError as error:
                yield NotSent(reason=error.code)
                return
            yield await self._find_refusal(self.store.policies[account], fields)

    async def check_health(
        self, account: AccountId, time_limit: timedelta
    ) -> HealthCheckResult:
        """Check an account's login. If it works, its secret counts as verified.

        An account is blocked, and paused, if the platform reports it to be another account of ours,
        by another spelling.
        """
        return (await self.check_secret(account, time_limit)).health

    async def check_secret(
        self, account: AccountId, time_limit: timedelta
    ) -> "SecretCheck":
        """Check an account's login as `check_health` does, and whether its secret is a new one."""
        with contextlib.ExitStack() as stack:
            fields: Mapping[str, str] = {}
            if account in self.secrets:
                try:
                    fields = stack.enter_context(self.secrets[account].held())
                except SecretError as error:
                    return SecretCheck(health=Unknown(reason=error.code))
            health = await self.ask_platform(account, time_limit)
        if not isinstance(health, Healthy) or not fields:
            return SecretCheck(health=health)
        fingerprint, known = (
            await self._hash(fields),
            self.store.policies[account].account,
        )
        before = (await self.store.login_health.read_secret_state(known)).verified
        other = await self.store.login_health.record_verified(
            known, fingerprint, health.identity
        )
        if other is not None:
            self._verified.pop(account, None)
            same = Blocked(
                code=SAME_ACCOUNT, reason=other, hold_reason=HoldReason.WRONG_SECRET
            )
            return SecretCheck(health=same)
        self._verified[account] = fingerprint
        return SecretCheck(health=health, is_new=before not in {None, fingerprint})

    async def ask_platform(
        self, account: AccountId, time_limit: timedelta
    ) -> HealthCheckResult:
        """Check an account's login; ask no platform with a secret that is missing or broken."""
        try:
            problem = (
                self.secrets[account].find_problem()
                if account in self.secrets
                else None
            )
        except SecretError as error:
            return Unknown(reason=error.code)
        if problem is not None:
            return CredentialExpired(reason=problem)
        return await call_adapter(self.adapters[account].check_health(), time_limit)

    async def _find_refusal(
        self, policy: AccountPolicy, fields: Mapping[str, str]
    ) -> Refusal | None:
        try:
            if await self._is_verified_or_unused(policy.account, fields):
                return None
            if (known := await self._recall(policy.account.id, fields)) is not None:
                return known
            # the platform has `request_timeout` to answer: the lease is longer
            health = await self.check_health(
                policy.account.id, policy.timing.request_timeout
            )
            log.info(
                "secret_checked", account=policy.account.id, health=result_code(health)
            )
            if isinstance(health, Blocked):
                await self.store.login_health.record_refused(policy.account, health)
        except Exception as error:
            if not is_outage(error):
                raise
            return NotSent(reason=SECRET_UNCHECKED)
        match health:
            case Healthy():
                return None
            case Blocked():
                return NotSent(reason=health.code)
            case CredentialExpired() | RateLimited():
                return health
            case _:
                return await self._remember(
                    policy, fields, NotSent(reason=health.reason)
                )

    async def _recall(
        self, account: AccountId, fields: Mapping[str, str]
    ) -> NotSent | None:
        """Return the result of a recent check of the same secret, if it was inconclusive."""
        known = self._inconclusive.get(account)
        if known is None or self.store.runtime.monotonic() >= known.ask_again_at:
            return None
        return known.refusal if known.fingerprint == await self._hash(fields) else None

    async def _remember(
        self, policy: AccountPolicy, fields: Mapping[str, str], refusal: NotSent
    ) -> NotSent:
        """Keep an inconclusive check for a while.

        Otherwise each due delivery would repeat the call.
        """
        self._inconclusive[policy.account.id] = InconclusiveCheck(
            fingerprint=await self._hash(fields),
            refusal=refusal,
            ask_again_at=self.store.runtime.monotonic()
            + policy.timing.first_check_after.total_seconds(),
        )
        return refusal

    async def _is_verified_or_unused(
        self, account: Account, fields: Mapping[str, str]
    ) -> bool:
        """Return True if a secret is known to be the account's, or if people post there."""
        fingerprint = await self._hash(fields)
        if self._verified.get(account.id) == fingerprint:
            return True
        state = await self.store.login_health.read_secret_state(account)
        if state.verified == fingerprint:
            self._verified[account.id] = fingerprint
        return state.verified == fingerprint or not state.is_used

    async def _hash(self, fields: Mapping[str, str]) -> str:
        """Return the keyed hash of a secret."""
        if not self._key:
            self._key.append(await self.store.login_health.credential_key())
        return hash_fields(fields, self._key[0])
