"""Tokens and authorization codes (open.weibo.com wiki OAuth2 and its page on token lifetimes)."""

import secrets
from dataclasses import dataclass
from typing import Any

from publisher.simulator.state import SimulatorState

from .apps import get_app_key

TOKEN_LIFETIME_SECONDS = {"own": 157_679_999, "reviewed": 2_592_000, "test": 86_400}
"""Five years if the user is the app's own developer, else thirty days; one day before the app's review."""
CODE_LIFETIME_SECONDS = 600
"""Our choice: the platform does not state it."""
TOKEN_EXPIRED, TOKEN_REVOKED = 21327, 21321
CODES_TABLE, TOKENS_TABLE = "weibo_codes", "weibo_access"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboAccessToken:
    account: str
    app_key: str
    issued_at: int
    expires_at: int
    is_revoked: bool
    is_superseded: bool

    def find_error(self, now: float) -> int | None:
        """Return the error code if the token is no longer valid."""
        if self.is_revoked:
            return TOKEN_REVOKED
        return TOKEN_EXPIRED if self.expires_at <= now else None


class WeiboTokens:
    """Issued tokens, and those that accounts have from the start, whose lifetime begins with their first use."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    def find_owner(self, token: str) -> str:
        """Return the account of a token, valid or not; empty for an unknown token."""
        known = self._state.get_row(TOKENS_TABLE, token)
        return str(known["account"]) if known and "account" in known else self._state.get_identity("weibo", token)

    def find(self, token: str) -> WeiboAccessToken | None:
        owner = self.find_owner(token)
        if not owner:
            return None
        facts = self._state.get_row(TOKENS_TABLE, token)
        if facts is None:
            facts = self._compute_lifetime()
            self._state.put_row(TOKENS_TABLE, token, facts)
        return WeiboAccessToken(
            account=owner,
            app_key=str(facts.get("app_key") or get_app_key(self._state, owner)),
            issued_at=facts["made"],
            expires_at=facts["ends"],
            is_revoked=bool(facts.get("revoked")),
            is_superseded=bool(facts.get("superseded")),
        )

    def issue(self, account: str, app_key: str) -> tuple[str, int]:
        """Return a new token and its lifetime in seconds; older tokens stay valid until they expire."""
        for token, facts in [*self._state.tables[TOKENS_TABLE].items()]:
            if (facts.get("account"), facts.get("app_key")) == (account, app_key):
                self._state.put_row(TOKENS_TABLE, token, {**facts, "superseded": True})
        token, life = f"2.00{secrets.token_hex(14)}", self._compute_lifetime()
        self._state.put_row(TOKENS_TABLE, token, {**life, "account": account, "app_key": app_key})
        return token, life["ends"] - life["made"]

    def revoke(self, token: str) -> None:
        facts = self._state.get_row(TOKENS_TABLE, token) or self._compute_lifetime()
        self._state.put_row(TOKENS_TABLE, token, {**facts, "revoked": True})

    def issue_code(self, account: str, app_key: str, redirect_uri: str) -> str:
        code = secrets.token_hex(16)
        facts = {"account": account, "app_key": app_key, "redirect_uri": redirect_uri, "made": self._state.now()}
        self._state.put_row(CODES_TABLE, code, facts)
        return code

    def find_code(self, code: str) -> dict[str, Any] | None:
        """Return the record of a code that is still usable."""
        facts = self._state.get_row(CODES_TABLE, code)
        if facts is None or facts.get("used") or facts["made"] + CODE_LIFETIME_SECONDS < self._state.now():
            return None
        return facts

    def use_code(self, code: str) -> None:
        self._state.put_row(CODES_TABLE, code, {**(self._state.get_row(CODES_TABLE, code) or {}), "used": True})

    def _compute_lifetime(self) -> dict[str, Any]:
        now = int(self._state.now())
        return {"made": now, "ends": now + TOKEN_LIFETIME_SECONDS[self._state.behaviour.weibo_app]}
