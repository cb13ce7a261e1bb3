"""The access token, every call that may be repeated, and the limit on renewals.

All processes that use a login share the counts, in its adapter state. The state holds no token,
only the first letters of its hash: one token that several processes were refused counts once.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from adapters.wechat.api import (
    ApiError,
    ErrorResponse,
    TooManyRequests,
    UnreadableResponse,
    decode_token,
    encode_token,
)
from adapters.wechat.codes import (
    HTTP_RATE_LIMIT_CODE,
    FailureOutcome,
    get_reason,
    interpret_fetch_error,
)
from publisher.contract import AdapterContext, HttpRequest, HttpResponse, Token
from publisher.domain.account import Account
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    HoldReason,
    NotSent,
    RateLimited,
    ReadFailure,
    Unknown,
)

MAX_RENEWALS = 2
RENEWAL_WINDOW = timedelta(minutes=5)
"""If more tokens than MAX_RENEWALS are refused in this time, someone else keeps ending ours."""
FORCED_RENEWAL_INTERVAL = timedelta(seconds=30)
"""How long after a forced renewal WeChat forces no other.

Another process's renewal is waited for.
"""
_REFUSED_TOKENS_KEY, _FORCED_RENEWALS_KEY = "token:refused", "token:forced"
T = TypeVar("T")


def record_refused(note: str | None, fingerprint: str, now: datetime) -> str:
    """Add a refused token to the note, once, unless there are too many."""
    recent = _get_recent_refused(note, now)
    return json.dumps(
        recent
        if is_contested(note, fingerprint, now)
        else {fingerprint: now.timestamp(), **recent}
    )


def is_contested(note: str | None, fingerprint: str, now: datetime) -> bool:
    """True if MAX_RENEWALS other tokens were refused lately.

    Another token is then a person's matter.
    """
    recent = _get_recent_refused(note, now)
    return fingerprint not in recent and len(recent) >= MAX_RENEWALS


def record_forced(note: str | None, now: datetime) -> str:
    """Add a forced renewal to the note, unless none may be forced now."""
    recent = _get_recent_forced(note, now)
    is_allowed = not was_just_forced(note, now) and not is_force_limit_reached(
        note, now
    )
    return json.dumps([*recent, now.timestamp()] if is_allowed else recent)


def was_just_forced(note: str | None, now: datetime) -> bool:
    """True if a renewal was forced so recently that it may still be in progress."""
    return any(
        at > (now - FORCED_RENEWAL_INTERVAL).timestamp()
        for at in _get_recent_forced(note, now)
    )


def is_force_limit_reached(note: str | None, now: datetime) -> bool:
    """True if no further renewal may be forced for a while."""
    return len(_get_recent_forced(note, now)) >= MAX_RENEWALS


def _get_recent_refused(note: str | None, now: datetime) -> dict[str, float]:
    since = (now - RENEWAL_WINDOW).timestamp()
    return {
        fingerprint: at
        for fingerprint, at in json.loads(note or "{}").items()
        if at > since
    }


def _get_recent_forced(note: str | None, now: datetime) -> list[float]:
    since = (now - RENEWAL_WINDOW).timestamp()
    return [at for at in json.loads(note or "[]") if at > since]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCall:
    """A repeatable call that failed. `code` is the platform's, where it gave one."""

    outcome: FailureOutcome
    code: int | None = None

    @property
    def unread(self) -> ReadFailure:
        """The result of the read.

        HTTP 429 limits all calls of the login, an error code limits one endpoint.
        """
        if (
            isinstance(self.outcome, RateLimited)
            and self.outcome.code == HTTP_RATE_LIMIT_CODE
        ):
            return self.outcome
        return Unknown(reason=get_reason(self.outcome))


@dataclass(frozen=True, slots=True, kw_only=True)
class WeChatAuth:
    """One account's login.

    The token comes from `stable_token`, so it ends no token that others use.
    """

    account: Account
    context: AdapterContext
    base_url: str
    _forced_fingerprints: set[str] = field(default_factory=set)
    """Fingerprints of the tokens that this process has forced out."""

    async def fetch(
        self,
        encode: Callable[[str, str], HttpRequest],
        decode: Callable[[HttpResponse], T | ErrorResponse],
    ) -> T | FailedCall:
        """Make a call that may be repeated; renew a refused token once and repeat the call once.

        `encode` gets the platform's address and the token.
        """
        token = await self.get_token()
        if isinstance(token, FailedCall):
            return token
        result = self._decode(
            await self.context.http.fetch(encode(self.base_url, token)), decode
        )
        if not (
            isinstance(result, FailedCall)
            and isinstance(result.outcome, CredentialExpired)
        ):
            return result
        renewed = await self.renew(token)
        if isinstance(renewed, FailedCall):
            return renewed
        return self._decode(
            await self.context.http.fetch(encode(self.base_url, renewed)), decode
        )

    async def get_token(self) -> str | FailedCall:
        """Return the current token; fetch one where there is none."""
        secret = self._get_app_secret()
        if isinstance(secret, FailedCall):
            return secret
        return await self.context.tokens.current() or await self.renew(None)

    async def renew(self, refused: str | None) -> str | FailedCall:
        """Replace a refused token; at most twice in five minutes, then a person must act.

        The token store lets one process at a time fetch a replacement. Only a token that this one
        fetches counts as a renewal.
        """
        fetches: list[Token | FailedCall] = []

        async def fetch_replacement() -> Token | None:
            fetched = await (
                self.fetch_token()
                if refused is None
                else self._fetch_replacement(refused)
            )
            fetches.append(fetched)
            if isinstance(fetched, FailedCall):
                return None
            await self.context.failpoint("token.after_refresh")
            return fetched

        token = await self.context.tokens.renew(refused, fetch_replacement)
        if fetches and isinstance(fetches[0], FailedCall):
            return fetches[0]
        return token or FailedCall(outcome=CredentialExpired(reason="wechat_no_token"))

    async def fetch_token(self, *, is_forced: bool = False) -> Token | FailedCall:
        """Fetch the token that is current on WeChat's side.

        A forced token ends all others at once.
        """
        secret = self._get_app_secret()
        if isinstance(secret, FailedCall):
            return secret
        request = encode_token(
            self.base_url, self.account.identity, secret, is_forced=is_forced
        )
        requested_at = self.context.now()
        grant = self._decode(await self.context.http.fetch(request), decode_token)
        if isinstance(grant, FailedCall):
            return grant
        return Token(value=grant.token, expires_at=requested_at + grant.lifetime)

    def _get_app_secret(self) -> str | FailedCall:
        """Return the app's secret; without one, or with another account's, no call is made."""
        secret = self.context.secret()
        if not secret.get("app_id") or not secret.get("app_secret"):
            return FailedCall(outcome=CredentialExpired(reason="wechat_no_secret"))
        if secret["app_id"] != self.account.identity:
            return FailedCall(
                outcome=Blocked(
                    code="wechat_other_app",
                    reason="app_id",
                    hold_reason=HoldReason.WRONG_SECRET,
                )
            )
        return secret["app_secret"]

    async def _fetch_replacement(self, refused: str) -> Token | FailedCall:
        """Fetch a token; force a new one only where WeChat still returns the refused one.

        One process of all may force a renewal at a time.
        """
        now, state = self.context.now(), self.context.state
        fingerprint = hashlib.sha256(refused.encode()).hexdigest()[:16]
        before = await state.update(
            _REFUSED_TOKENS_KEY,
            partial(record_refused, fingerprint=fingerprint, now=now),
        )
        if is_contested(before, fingerprint, now):
            return FailedCall(
                outcome=CredentialExpired(reason="wechat_token_contested")
            )
        fetched = await self.fetch_token()
        if isinstance(fetched, FailedCall) or fetched.value != refused:
            return fetched
        now = self.context.now()
        before = await state.update(
            _FORCED_RENEWALS_KEY, partial(record_forced, now=now)
        )
        if was_just_forced(before, now):
            if fingerprint in self._forced_fingerprints:
                return FailedCall(outcome=CredentialExpired(reason="wechat_no_token"))
            return FailedCall(
                outcome=Busy(
                    code="wechat_token_renewed_elsewhere", reason=self.account.id
                )
            )
        if is_force_limit_reached(before, now):
            return FailedCall(
                outcome=CredentialExpired(reason="wechat_token_contested")
            )
        self._forced_fingerprints.add(fingerprint)
        forced = await self.fetch_token(is_forced=True)
        if isinstance(forced, FailedCall) or forced.value != refused:
            return forced
        return FailedCall(outcome=CredentialExpired(reason="wechat_no_token"))

    def _decode(
        self,
        response: HttpResponse | NotSent | Unknown,
        decode: Callable[[HttpResponse], T | ErrorResponse],
    ) -> T | FailedCall:
        """Return the decoded response, or a failure.

        The failure is never Unknown: the creating call was not made.
        """
        if isinstance(response, NotSent):
            return FailedCall(outcome=response)
        if isinstance(response, Unknown):
            return FailedCall(outcome=NotSent(reason=response.reason))
        result = decode(response)
        if isinstance(result, ApiError | TooManyRequests | UnreadableResponse):
            code = result.code if isinstance(result, ApiError) else None
            return FailedCall(
                outcome=interpret_fetch_error(result, self.context.now()), code=code
            )
        return result
