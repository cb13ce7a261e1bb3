"""How Tieba's calls are signed: an MD5 over the fields in order of their names, with a salt for each kind of client.

Read in public clients (aiotieba `helper/crypto/sign.py`; the request signing of the 2026 PC site). The signature
guards against mistakes, not against anybody: both salts are public.
"""

import hashlib
from collections.abc import Mapping

PC_SALT = "36770b1f34c9bbf2e7d1a99d2b82fa9e"
APP_SALT = "tiebaclient!!!"
FILE_PLACEHOLDER = "[object File]"
"""What stands for a file's bytes in the signature of the PC site."""


def sign(fields: Mapping[str, str], salt: str) -> str:
    """Give the signature, in lower case. Empty values count, a field `sign` does not."""
    text = "".join(f"{name}={fields[name]}" for name in sorted(fields) if name != "sign")
    return hashlib.md5((text + salt).encode(), usedforsecurity=False).hexdigest()


def sign_pc_form(fields: Mapping[str, str], **unsent: str) -> dict[str, str]:
    """Complete a form or query of the PC site. `unsent` fields are signed but travel otherwise."""
    whole = {**fields, "subapp_type": "pc", "_client_type": "20"}
    return {**whole, "sign": sign({**whole, **unsent}, PC_SALT)}


def sign_app_form(fields: Mapping[str, str]) -> dict[str, str]:
    """Complete a form of the app."""
    return {**fields, "sign": sign(fields, APP_SALT)}
