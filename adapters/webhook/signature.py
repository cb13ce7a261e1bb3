"""How a call proves who makes it. Pure."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit


def sign_headers(key: str, method: str, url: str, body: bytes, now: datetime) -> Mapping[str, str]:
    """Give the headers that sign a call: an HMAC-SHA256 over instant, method, path and body, a line feed between them.

    The query is left out: proxies spell it anew. The path is that of the address as it is called.
    """
    at = str(int(now.timestamp()))
    message = b"\n".join([at.encode(), method.encode(), urlsplit(url).path.encode(), body])
    digest = hmac.new(key.encode(), message, hashlib.sha256).hexdigest()
    return {"publisher-timestamp": at, "publisher-signature": f"v1={digest}"}
