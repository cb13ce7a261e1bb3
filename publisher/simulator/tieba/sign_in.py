"""Signatures, cookies and the anti-forgery token, as the web and app clients use them.

There is no official interface: the forms are those read in public clients (aiotieba's `helper/crypto/sign.py`, the
request signing of the 2026 PC site).
"""

import hashlib
from collections.abc import Mapping

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .client_types import ClientType, decode_app_message, get_client_type
from .responses import refuse

WEB_SALT = "36770b1f34c9bbf2e7d1a99d2b82fa9e"
APP_SALT = "tiebaclient!!!"
TBS_DIGITS = 16
PC_FIELDS = {"subapp_type": "pc", "_client_type": "20"}
"""What every call of the PC site carries."""


def sign(fields: Mapping[str, str], salt: str) -> str:
    """MD5 over `key=value` in the order of keys, without separator, and the salt."""
    text = "".join(f"{key}={fields[key]}" for key in sorted(fields) if key != "sign")
    return hashlib.md5((text + salt).encode(), usedforsecurity=False).hexdigest()


class SimulatedTiebaAuth:
    def __init__(self, state: SimulatorState) -> None:
        self.state = state

    def identify_caller(self, request: ApiRequest) -> str:
        form = decode_app_message(request).form
        session = request.get_cookie("BDUSS") or form.get("BDUSS") or form.get("bdusstoken") or ""
        return self.state.get_identity("tieba", session.split("|")[0])

    def check_signature(self, request: ApiRequest, **extra: str) -> ApiResponse | None:
        """110001 for a form with a missing or wrong signature, upper or lower case, and for what is no message.

        Messages carry no signature.
        """
        dialect = get_client_type(request)
        if dialect is ClientType.APP_PROTOBUF:
            return None if request.form else refuse(request, "110001")
        if not self.state.behaviour.tieba_sign:
            return None
        fields = {**request.query, **request.form, **extra}
        salt = APP_SALT
        if dialect is ClientType.PC_SITE:
            salt = WEB_SALT
            if any(fields.get(name) != value for name, value in PC_FIELDS.items()):
                return refuse(request, "110001")
        return None if fields.get("sign", "").lower() == sign(fields, salt) else refuse(request, "110001")

    def check_signed_post(self, request: ApiRequest, **extra: str) -> ApiResponse | None:
        """110001 for a write that is no POST, or is not signed as it should be."""
        return refuse(request, "110001") if request.method != "POST" else self.check_signature(request, **extra)

    def check_signed_in(self, request: ApiRequest) -> ApiResponse | None:
        """Not signed in."""
        if not request.account:
            return refuse(request, "230265" if request.headers.get("cookie") or request.form.get("BDUSS") else "100023")
        self.state.ensure_account("tieba", request.account)
        return None

    def check_tbs(self, request: ApiRequest) -> ApiResponse | None:
        """Not signed in, or without a token of one's own."""
        owns = self.is_own_tbs(request.account, request.get_parameter("tbs") or "")
        return self.check_signed_in(request) or (None if owns else refuse(request, "230308"))

    def make_tbs(self, account: str) -> str:
        """26 hexadecimal characters, the last ten of them the second."""
        return self._make_tbs_head(account, second := f"{int(self.state.now()):010d}") + second

    def is_own_tbs(self, account: str, tbs: str) -> bool:
        second, longest = tbs[TBS_DIGITS:], self.state.behaviour.tieba_tbs_seconds
        if tbs != self._make_tbs_head(account, second) + second:
            return False
        return not longest or int(second) + longest >= self.state.now()

    def _make_tbs_head(self, account: str, second: str) -> str:
        return hashlib.sha256(f"tbs/{account}/{second}".encode()).hexdigest()[:TBS_DIGITS]
