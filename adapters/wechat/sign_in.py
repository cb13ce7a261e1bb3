"""The access token, and every call that may be repeated."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from publisher.contract import AdapterKit, Call, Reply, Token
from publisher.domain.account import Account
from publisher.domain.outcome import Blocked, Busy, CredentialExpired, HoldReason, NotSent, Unknown

from .codes import NotDone, judge_ask
from .renewals import is_contested, is_forced_out, mark_of, note_forced, note_refused, was_just_forced
from .wire import Limited, Refused, Trouble, Unreadable, decode_token, encode_token

_REFUSED, _FORCED = "token:refused", "token:forced"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A call that may be repeated did not bring what it should. `code` is the platform's, where it gave one."""

    outcome: NotDone
    code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """One account's sign-in. The token comes from `stable_token`, which does not end a token that others use."""

    account: Account
    kit: AdapterKit
    base: str
    _forced_out: set[str] = field(default_factory=set)
    """Marks of tokens that we have forced out ourselves."""

    async def ask(self, encode: Callable[[str], Call], decode: Callable[[Reply], T | Trouble]) -> T | Failed:
        """Make a call that may be repeated; where its token is refused, renew that once and repeat the call once."""
        token = await self.token()
        if isinstance(token, Failed):
            return token
        answer = await self._ask_with(token, encode, decode)
        if not (isinstance(answer, Failed) and isinstance(answer.outcome, CredentialExpired)):
            return answer
        renewed = await self.renew(token)
        return renewed if isinstance(renewed, Failed) else await self._ask_with(renewed, encode, decode)

    async def token(self) -> str | Failed:
        """Give the token in force, fetching one where there is none."""
        secret = self._app_secret()
        return secret if isinstance(secret, Failed) else await self.kit.tokens.current() or await self._replace(None)

    async def prove(self) -> Failed | None:
        """Ask WeChat whether the login works; None when it does. The token in force stays in force."""
        fetched = await self.fetch()
        return fetched if isinstance(fetched, Failed) else None

    async def renew(self, refused: str) -> str | Failed:
        """Replace a token that was refused; at most twice in five minutes, then it is a person's matter."""
        return await self._replace(refused)

    async def fetch(self, *, is_forced: bool = False) -> Token | Failed:
        """Ask for the token that is in force on WeChat's side; a forced one ends all others at once."""
        secret = self._app_secret()
        if isinstance(secret, Failed):
            return secret
        call = encode_token(self.base, self.account.identity, secret, is_forced=is_forced)
        asked_at = self.kit.now()
        grant = self._read(await self.kit.http.ask(call), decode_token)
        if isinstance(grant, Failed):
            return grant
        return Token(value=grant.token, ends_at=asked_at + grant.lasts)

    def _app_secret(self) -> str | Failed:
        """Give the app's secret; without one, or with another account's, nothing is said."""
        secret = self.kit.secret()
        if not secret.get("app_id") or not secret.get("app_secret"):
            return Failed(outcome=CredentialExpired(reason="wechat_no_token"))
        if secret["app_id"] != self.account.identity:
            return Failed(outcome=Blocked(code="wechat_other_app", reason="app_id", hold=HoldReason.WRONG_ACCOUNT))
        return secret["app_secret"]

    async def _replace(self, refused: str | None) -> str | Failed:
        """Let the book replace the token; only a renewal that we have to fetch ourselves counts as one."""
        fetches: list[Token | Failed] = []

        async def bring() -> Token | None:
            fetched = await (self.fetch() if refused is None else self._fetch_other_than(refused))
            fetches.append(fetched)
            if isinstance(fetched, Failed):
                return None
            await self.kit.failpoint("token.after_refresh")
            return fetched

        token = await self.kit.tokens.renew(refused, bring)
        if fetches and isinstance(fetches[0], Failed):
            return fetches[0]
        return token or Failed(outcome=CredentialExpired(reason="wechat_no_token"))

    async def _fetch_other_than(self, refused: str) -> Token | Failed:
        """Fetch a token; force a new one only where WeChat still hands out the refused one."""
        now, mark = self.kit.now(), mark_of(refused)
        before = await self.kit.notes.revise(_REFUSED, partial(note_refused, mark=mark, now=now))
        if is_contested(before, mark, now):
            return Failed(outcome=CredentialExpired(reason="wechat_token_contested"))
        fetched = await self.fetch()
        if isinstance(fetched, Failed) or fetched.value != refused:
            return fetched
        return await self._may_force(mark) or await self._force(refused)

    async def _may_force(self, mark: str) -> Failed | None:
        """Take the turn to force a new token, which one process of all has at a time; say why it cannot be had."""
        now = self.kit.now()
        before = await self.kit.notes.revise(_FORCED, partial(note_forced, now=now))
        if was_just_forced(before, now) and mark not in self._forced_out:
            return Failed(outcome=Busy(code="wechat_token_renewed_elsewhere", reason=self.account.id))
        if was_just_forced(before, now):
            return Failed(outcome=CredentialExpired(reason="wechat_no_token"))
        if is_forced_out(before, now):
            return Failed(outcome=CredentialExpired(reason="wechat_token_contested"))
        self._forced_out.add(mark)
        return None

    async def _force(self, refused: str) -> Token | Failed:
        forced = await self.fetch(is_forced=True)
        if isinstance(forced, Failed) or forced.value != refused:
            return forced
        return Failed(outcome=CredentialExpired(reason="wechat_no_token"))

    async def _ask_with(
        self, token: str, encode: Callable[[str], Call], decode: Callable[[Reply], T | Trouble]
    ) -> T | Failed:
        return self._read(await self.kit.http.ask(encode(token)), decode)

    def _read(self, reply: Reply | NotSent | Unknown, decode: Callable[[Reply], T | Trouble]) -> T | Failed:
        """Read an answer; whatever went wrong, the creating call was not made."""
        if isinstance(reply, NotSent):
            return Failed(outcome=reply)
        if isinstance(reply, Unknown):
            return Failed(outcome=NotSent(reason=reply.reason))
        answer = decode(reply)
        if isinstance(answer, Refused | Limited | Unreadable):
            code = answer.code if isinstance(answer, Refused) else None
            return Failed(outcome=judge_ask(answer, self.kit.now()), code=code)
        return answer
