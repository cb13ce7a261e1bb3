"""The access token, and every call that may be repeated.

How often refused tokens are replaced. All processes that speak for a login share the count, in its notes.

A note holds no token, only the first letters of its hash: what several processes were refused is one refusal.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from adapters.wechat.api import ApiError, ErrorResponse, TooManyRequests, UnreadableResponse, decode_token, encode_token
from adapters.wechat.codes import FailureOutcome, interpret_fetch_error
from publisher.contract import AdapterContext, HttpRequest, HttpResponse, Token
from publisher.domain.account import Account
from publisher.domain.results import Blocked, Busy, CredentialExpired, HoldReason, NotSent, Unknown

MAX_RENEWALS = 2
RENEWAL_WINDOW = timedelta(minutes=5)
"""More refused tokens than this in so short a time: someone else keeps ending ours."""
FORCED_RENEWAL_INTERVAL = timedelta(seconds=30)
"""Sooner after another WeChat forces nothing; for so long whoever forced one is waited for."""


def fingerprint_token(token: str) -> str:
    """Name a token by what does not tell it."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def record_refused(noted: str | None, mark: str, now: datetime) -> str:
    """Add a refused token to the note, unless there are too many; once, whoever else was refused it."""
    recent = _recent_refused(noted, now)
    return json.dumps(recent if _exceeds_renewal_limit(recent, mark) else {mark: now.timestamp(), **recent})


def is_contested(noted: str | None, mark: str, now: datetime) -> bool:
    """Whether so many other tokens were refused lately that another one is a person's matter."""
    return _exceeds_renewal_limit(_recent_refused(noted, now), mark)


def record_forced(noted: str | None, now: datetime) -> str:
    """Add a forced renewal to the note, unless it may not be made."""
    recent = _recent_forced(noted, now)
    is_free = not was_just_forced(noted, now) and not is_force_limit_reached(noted, now)
    return json.dumps([*recent, now.timestamp()] if is_free else recent)


def was_just_forced(noted: str | None, now: datetime) -> bool:
    """Whether a renewal was forced so shortly ago that it may still be under way."""
    return any(at > (now - FORCED_RENEWAL_INTERVAL).timestamp() for at in _recent_forced(noted, now))


def is_force_limit_reached(noted: str | None, now: datetime) -> bool:
    """Whether no further renewal may be forced for a while."""
    return len(_recent_forced(noted, now)) >= MAX_RENEWALS


def _exceeds_renewal_limit(recent: dict[str, float], mark: str) -> bool:
    return mark not in recent and len(recent) >= MAX_RENEWALS


def _recent_refused(noted: str | None, now: datetime) -> dict[str, float]:
    since = (now - RENEWAL_WINDOW).timestamp()
    return {mark: at for mark, at in json.loads(noted or "{}").items() if at > since}


def _recent_forced(noted: str | None, now: datetime) -> list[float]:
    since = (now - RENEWAL_WINDOW).timestamp()
    return [at for at in json.loads(noted or "[]") if at > since]


_REFUSED_TOKENS_KEY, _FORCED_RENEWALS_KEY = "token:refused", "token:forced"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCall:
    """A call that may be repeated did not bring what it should. `code` is the platform's, where it gave one."""

    outcome: FailureOutcome
    code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeChatAuth:
    """One account's sign-in. The token comes from `stable_token`, which does not end a token that others use."""

    account: Account
    context: AdapterContext
    base_url: str
    _forced_fingerprints: set[str] = field(default_factory=set)
    """Marks of tokens that we have forced out ourselves."""

    async def fetch(
        self, encode: Callable[[str], HttpRequest], decode: Callable[[HttpResponse], T | ErrorResponse]
    ) -> T | FailedCall:
        """Make a call that may be repeated; where its token is refused, renew that once and repeat the call once."""
        token = await self.get_token()
        if isinstance(token, FailedCall):
            return token
        answer = await self._fetch_with(token, encode, decode)
        if not (isinstance(answer, FailedCall) and isinstance(answer.outcome, CredentialExpired)):
            return answer
        renewed = await self.renew(token)
        return renewed if isinstance(renewed, FailedCall) else await self._fetch_with(renewed, encode, decode)

    async def get_token(self) -> str | FailedCall:
        """Give the token in force, fetching one where there is none."""
        secret = self._get_app_secret()
        return (
            secret
            if isinstance(secret, FailedCall)
            else await self.context.tokens.current() or await self._replace_token(None)
        )

    async def verify(self) -> FailedCall | None:
        """Ask WeChat whether the login works; None when it does. The token in force stays in force."""
        fetched = await self.fetch_token()
        return fetched if isinstance(fetched, FailedCall) else None

    async def renew(self, refused: str) -> str | FailedCall:
        """Replace a token that was refused; at most twice in five minutes, then it is a person's matter."""
        return await self._replace_token(refused)

    async def fetch_token(self, *, is_forced: bool = False) -> Token | FailedCall:
        """Ask for the token that is in force on WeChat's side; a forced one ends all others at once."""
        secret = self._get_app_secret()
        if isinstance(secret, FailedCall):
            return secret
        request = encode_token(self.base_url, self.account.identity, secret, is_forced=is_forced)
        asked_at = self.context.now()
        grant = self._decode(await self.context.http.fetch(request), decode_token)
        if isinstance(grant, FailedCall):
            return grant
        return Token(value=grant.token, expires_at=asked_at + grant.lifetime)

    def _get_app_secret(self) -> str | FailedCall:
        """Give the app's secret; without one, or with another account's, nothing is said."""
        secret = self.context.secret()
        if not secret.get("app_id") or not secret.get("app_secret"):
            return FailedCall(outcome=CredentialExpired(reason="wechat_no_token"))
        if secret["app_id"] != self.account.identity:
            return FailedCall(
                outcome=Blocked(code="wechat_other_app", reason="app_id", hold_reason=HoldReason.WRONG_ACCOUNT)
            )
        return secret["app_secret"]

    async def _replace_token(self, refused: str | None) -> str | FailedCall:
        """Let the book replace the token; only a renewal that we have to fetch ourselves counts as one."""
        fetches: list[Token | FailedCall] = []

        async def fetch_replacement() -> Token | None:
            fetched = await (self.fetch_token() if refused is None else self._fetch_replacement(refused))
            fetches.append(fetched)
            if isinstance(fetched, FailedCall):
                return None
            await self.context.failpoint("token.after_refresh")
            return fetched

        token = await self.context.tokens.renew(refused, fetch_replacement)
        if fetches and isinstance(fetches[0], FailedCall):
            return fetches[0]
        return token or FailedCall(outcome=CredentialExpired(reason="wechat_no_token"))

    async def _fetch_replacement(self, refused: str) -> Token | FailedCall:
        """Fetch a token; force a new one only where WeChat still hands out the refused one."""
        now, mark = self.context.now(), fingerprint_token(refused)
        before = await self.context.state.update(_REFUSED_TOKENS_KEY, partial(record_refused, mark=mark, now=now))
        if is_contested(before, mark, now):
            return FailedCall(outcome=CredentialExpired(reason="wechat_token_contested"))
        fetched = await self.fetch_token()
        if isinstance(fetched, FailedCall) or fetched.value != refused:
            return fetched
        return await self._reserve_forced_renewal(mark) or await self._force_renewal(refused)

    async def _reserve_forced_renewal(self, mark: str) -> FailedCall | None:
        """Take the turn to force a new token, which one process of all has at a time; say why it cannot be had."""
        now = self.context.now()
        before = await self.context.state.update(_FORCED_RENEWALS_KEY, partial(record_forced, now=now))
        if was_just_forced(before, now) and mark not in self._forced_fingerprints:
            return FailedCall(outcome=Busy(code="wechat_token_renewed_elsewhere", reason=self.account.id))
        if was_just_forced(before, now):
            return FailedCall(outcome=CredentialExpired(reason="wechat_no_token"))
        if is_force_limit_reached(before, now):
            return FailedCall(outcome=CredentialExpired(reason="wechat_token_contested"))
        self._forced_fingerprints.add(mark)
        return None

    async def _force_renewal(self, refused: str) -> Token | FailedCall:
        forced = await self.fetch_token(is_forced=True)
        if isinstance(forced, FailedCall) or forced.value != refused:
            return forced
        return FailedCall(outcome=CredentialExpired(reason="wechat_no_token"))

    async def _fetch_with(
        self, token: str, encode: Callable[[str], HttpRequest], decode: Callable[[HttpResponse], T | ErrorResponse]
    ) -> T | FailedCall:
        return self._decode(await self.context.http.fetch(encode(token)), decode)

    def _decode(
        self, response: HttpResponse | NotSent | Unknown, decode: Callable[[HttpResponse], T | ErrorResponse]
    ) -> T | FailedCall:
        """Read an answer; whatever went wrong, the creating call was not made."""
        if isinstance(response, NotSent):
            return FailedCall(outcome=response)
        if isinstance(response, Unknown):
            return FailedCall(outcome=NotSent(reason=response.reason))
        answer = decode(response)
        if isinstance(answer, ApiError | TooManyRequests | UnreadableResponse):
            code = answer.code if isinstance(answer, ApiError) else None
            return FailedCall(outcome=interpret_fetch_error(answer, self.context.now()), code=code)
        return answer
