"""Tokens and the codes they are changed for (open.weibo.com wiki OAuth2 and its page on how long tokens live)."""

import secrets
from dataclasses import dataclass
from typing import Any

from publisher.simulator.world import World

from .apps import app_of

LIVES = {"own": 157_679_999, "reviewed": 2_592_000, "test": 86_400}
"""Seconds: five years when the user is the app's own developer, else thirty days, one day before the app's review."""
CODE_LIFE = 600
"""Seconds; the platform does not say."""
EXPIRED, REVOKED = 21327, 21321
CODES, ACCESS = "weibo_codes", "weibo_access"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    account: str
    app_key: str
    made: int
    ends: int
    is_revoked: bool
    is_superseded: bool

    def trouble(self, now: float) -> int | None:
        """The code that says why it is no good any more."""
        if self.is_revoked:
            return REVOKED
        return EXPIRED if self.ends <= now else None


class Tokens:
    """Those given out here, and those that accounts have had from the start; these begin to live when first used."""

    def __init__(self, world: World) -> None:
        self._world = world

    def owner(self, token: str) -> str:
        """Whose token it is, without judging it; empty when nobody's."""
        known = self._world.get(ACCESS, token)
        return str(known["account"]) if known and "account" in known else self._world.identify("weibo", token)

    def find(self, token: str) -> Token | None:
        owner = self.owner(token)
        if not owner:
            return None
        facts = self._world.get(ACCESS, token) or self._begun(token)
        return Token(
            account=owner,
            app_key=str(facts.get("app_key") or app_of(self._world, owner)),
            made=facts["made"],
            ends=facts["ends"],
            is_revoked=bool(facts.get("revoked")),
            is_superseded=bool(facts.get("superseded")),
        )

    def issue(self, account: str, app_key: str) -> tuple[str, int]:
        """A new token and its seconds to live; the account's older ones for that app live on to their own ends."""
        for token, facts in [*self._world.tables[ACCESS].items()]:
            if (facts.get("account"), facts.get("app_key")) == (account, app_key):
                self._world.put(ACCESS, token, {**facts, "superseded": True})
        token, life = f"2.00{secrets.token_hex(14)}", self._life()
        self._world.put(ACCESS, token, {**life, "account": account, "app_key": app_key})
        return token, life["ends"] - life["made"]

    def revoke(self, token: str) -> None:
        self._world.put(ACCESS, token, {**(self._world.get(ACCESS, token) or self._life()), "revoked": True})

    def give_code(self, account: str, app_key: str, redirect_uri: str) -> str:
        code = secrets.token_hex(16)
        facts = {"account": account, "app_key": app_key, "redirect_uri": redirect_uri, "made": self._world.now()}
        self._world.put(CODES, code, facts)
        return code

    def code(self, code: str) -> dict[str, Any] | None:
        """What a code stands for, while it may be used."""
        facts = self._world.get(CODES, code)
        if facts is None or facts.get("used") or facts["made"] + CODE_LIFE < self._world.now():
            return None
        return facts

    def code_owner(self, code: str) -> str:
        facts = self._world.get(CODES, code)
        return str(facts["account"]) if facts else ""

    def use_code(self, code: str) -> None:
        self._world.put(CODES, code, {**(self._world.get(CODES, code) or {}), "used": True})

    def _begun(self, token: str) -> dict[str, Any]:
        facts = self._life()
        self._world.put(ACCESS, token, facts)
        return facts

    def _life(self) -> dict[str, int]:
        now = int(self._world.now())
        return {"made": now, "ends": now + LIVES[self._world.settings.weibo_app]}
