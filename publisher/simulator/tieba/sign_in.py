"""Sessions, signatures and the anti-forgery token, as the web and app clients use them.

There is no official interface; the formats come from public clients (aiotieba's
`helper/crypto/sign.py`, the request signing of the 2026 PC site).
"""

import hashlib
from collections.abc import Mapping

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .protobuf import decode
from .protobuf_schemas import MESSAGE_TYPES
from .responses import ClientType, get_client_type, refuse

WEB_SALT = "36770b1f34c9bbf2e7d1a99d2b82fa9e"
APP_SALT = "tiebaclient!!!"
TBS_DIGITS = 16
PC_FIELDS = {"subapp_type": "pc", "_client_type": "20"}
"""Fields of every call of the PC site."""


def sign(fields: Mapping[str, str], salt: str) -> str:
    """Return the MD5 over each `key=value` in key order, without separator, and the salt."""
    text = "".join(f"{key}={fields[key]}" for key in sorted(fields) if key != "sign")
    return hashlib.md5((text + salt).encode(), usedforsecurity=False).hexdigest()


def identify_caller(state: SimulatorState, request: ApiRequest) -> str:
    form = _decode_message(request).form
    session = (
        request.get_cookie("BDUSS") or form.get("BDUSS") or form.get("bdusstoken") or ""
    )
    return state.get_identity("tieba", session.split("|")[0])


def _decode_message(request: ApiRequest) -> ApiRequest:
    """Decode a message's fields into the request's form.

    An invalid message leaves the form empty.
    """
    if get_client_type(request) is not ClientType.APP_PROTOBUF:
        return request
    request.form = {}
    message, part = MESSAGE_TYPES.get(request.endpoint), request.files.get("data")
    if message is None or part is None or request.query.get("cmd") != message.cmd:
        return request
    try:
        fields = decode({"data": (1, message.request)}, part.data).get("data", {})
    except ValueError:
        return request
    common = fields.pop("common", {})
    request.form = {name: str(value) for name, value in {**common, **fields}.items()}
    return request


def check_signature(request: ApiRequest, **extra: str) -> ApiResponse | None:
    """Refuse a form with a missing or wrong signature, and an invalid message, with 110001.

    A signature may be upper or lower case. Messages carry no signature.
    """
    client_type = get_client_type(request)
    if client_type is ClientType.APP_PROTOBUF:
        return None if request.form else refuse(request, "110001")
    fields = {**request.query, **request.form, **extra}
    salt = APP_SALT
    if client_type is ClientType.PC_SITE:
        salt = WEB_SALT
        if any(fields.get(name) != value for name, value in PC_FIELDS.items()):
            return refuse(request, "110001")
    return (
        None
        if fields.get("sign", "").lower() == sign(fields, salt)
        else refuse(request, "110001")
    )


def check_signed_post(request: ApiRequest, **extra: str) -> ApiResponse | None:
    """Refuse another method than POST, and an invalid signature, with 110001."""
    return (
        refuse(request, "110001")
        if request.method != "POST"
        else check_signature(request, **extra)
    )


def check_signed_in(state: SimulatorState, request: ApiRequest) -> ApiResponse | None:
    """Refuse a call without a session."""
    if not request.account:
        return refuse(
            request,
            "230265"
            if request.headers.get("cookie") or request.form.get("BDUSS")
            else "100023",
        )
    state.ensure_account("tieba", request.account)
    return None


def check_tbs(state: SimulatorState, request: ApiRequest) -> ApiResponse | None:
    """Refuse a call without a session, or without the account's own tbs token."""
    if refusal := check_signed_in(state, request):
        return refusal
    tbs = request.get_parameter("tbs") or ""
    return (
        None
        if tbs == _make_tbs(request.account, tbs[TBS_DIGITS:])
        else refuse(request, "230308")
    )


def make_tbs(state: SimulatorState, account: str) -> str:
    return _make_tbs(account, f"{int(state.now()):010d}")


def _make_tbs(account: str, second: str) -> str:
    """Return a token of 16 hexadecimal characters and the second in ten digits."""
    return (
        hashlib.sha256(f"tbs/{account}/{second}".encode()).hexdigest()[:TBS_DIGITS]
        + second
    )
