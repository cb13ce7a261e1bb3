"""Signatures, cookies and the anti-forgery token, as the web and app clients use them.

There is no official interface: the forms are those read in public clients (aiotieba's `helper/crypto/sign.py`, the
request signing of the 2026 PC site).
"""

import hashlib
from collections.abc import Mapping

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import refuse

WEB_SALT = "36770b1f34c9bbf2e7d1a99d2b82fa9e"
APP_SALT = "tiebaclient!!!"
TBS_DIGITS = 16


def sign(fields: Mapping[str, str], salt: str) -> str:
    """MD5 over `key=value` in the order of keys, without separator, and the salt."""
    text = "".join(f"{key}={fields[key]}" for key in sorted(fields) if key != "sign")
    return hashlib.md5((text + salt).encode(), usedforsecurity=False).hexdigest()


class SignIn:
    def __init__(self, world: World) -> None:
        self.world = world

    def who(self, call: Call) -> str:
        session = call.cookie("BDUSS") or call.form.get("BDUSS") or call.form.get("bdusstoken") or ""
        return self.world.identify("tieba", session.split("|")[0])

    def unsigned(self, call: Call, salt: str, **extra: str) -> Answer | None:
        """110001 for a missing or wrong signature, upper or lower case."""
        if not self.world.settings.tieba_sign:
            return None
        fields = {**call.query, **call.form, **extra}
        if fields.get("sign", "").lower() == sign(fields, salt):
            return None
        return refuse(call, "110001")

    def stranger(self, call: Call) -> Answer | None:
        """Not signed in, or without a token of one's own."""
        if not call.account:
            return refuse(call, "230265" if call.headers.get("cookie") or call.form.get("BDUSS") else "100023")
        self.world.account("tieba", call.account)
        return None if self.owns(call.account, call.value("tbs") or "") else refuse(call, "230308")

    def tbs(self, account: str) -> str:
        """26 hexadecimal characters, the last ten of them the second."""
        return self._head(account, second := f"{int(self.world.now()):010d}") + second

    def owns(self, account: str, tbs: str) -> bool:
        return tbs == self._head(account, tbs[TBS_DIGITS:]) + tbs[TBS_DIGITS:]

    def _head(self, account: str, second: str) -> str:
        return hashlib.sha256(f"tbs/{account}/{second}".encode()).hexdigest()[:TBS_DIGITS]
