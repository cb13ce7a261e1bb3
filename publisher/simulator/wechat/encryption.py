"""How events are signed and sealed (developers.weixin.qq.com, Message_encryption_and_decryption).

A seal is AES-256 in CBC mode: sixteen random bytes, the length in four, the text, the AppID, filled up to 32.
"""

import base64
import hashlib
import secrets

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK_BYTES = 32


def compute_signature(*parts: str) -> str:
    """SHA-1 over the sorted parts, in hexadecimal."""
    return hashlib.sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def decode_key(encoding_aes_key: str) -> bytes:
    """Thirty-two bytes out of 43 characters; ValueError when they are none."""
    try:
        key = base64.b64decode(encoding_aes_key + "=", validate=True)
    except ValueError:
        key = b""
    if len(key) != BLOCK_BYTES:
        raise ValueError("aes_key must be 43 characters of base64")
    return key


def encrypt(text: str, encoding_aes_key: str, app_id: str, salt: bytes | None = None) -> str:
    """The text, readable for who has the key."""
    key, said = decode_key(encoding_aes_key), text.encode()
    plain = (salt or secrets.token_hex(8).encode()) + len(said).to_bytes(4, "big") + said + app_id.encode()
    filling = BLOCK_BYTES - len(plain) % BLOCK_BYTES
    sealing = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    sealed = sealing.update(plain + bytes([filling]) * filling) + sealing.finalize()
    return base64.b64encode(sealed).decode()
