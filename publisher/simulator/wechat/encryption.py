"""How events are signed and encrypted (developers.weixin.qq.com, Message_encryption_and_decryption).

AES-256 in CBC mode over sixteen random bytes, the length in four bytes, the text and the AppID, padded to 32 bytes.
"""

import base64
import hashlib
import secrets

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK_BYTES = 32


def compute_signature(*parts: str) -> str:
    """Return the SHA-1 of the sorted parts, in hexadecimal."""
    return hashlib.sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def decode_key(encoding_aes_key: str) -> bytes:
    """Decode the 32 bytes of a 43-character key; raises ValueError if it is invalid."""
    try:
        key = base64.b64decode(encoding_aes_key + "=", validate=True)
    except ValueError:
        key = b""
    if len(key) != BLOCK_BYTES:
        raise ValueError("aes_key must be 43 characters of base64")
    return key


def encrypt(text: str, encoding_aes_key: str, app_id: str, salt: bytes | None = None) -> str:
    """Encrypt a text; `salt` replaces the sixteen random bytes."""
    key, data = decode_key(encoding_aes_key), text.encode()
    plain = (salt or secrets.token_hex(8).encode()) + len(data).to_bytes(4, "big") + data + app_id.encode()
    padding = BLOCK_BYTES - len(plain) % BLOCK_BYTES
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    encrypted = encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()
    return base64.b64encode(encrypted).decode()
