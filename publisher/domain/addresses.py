"""Addresses of databases, hosts and links as people write them. Pure.

The module finds their parts, and the addresses of this machine.
"""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import parse_qsl, urlsplit

MARKER_PLACEHOLDER = "{marker}"
"""The placeholder for the marker in a link template."""
POSTGRES_SCHEMES = ("postgresql://", "postgresql+psycopg://")
_POSTGRES_URL = re.compile(
    r"[^:]+://([^@]*@)?(\[[^\]@]*\]|[^@:/?\[\]]*)(:\d+)?([/?].*)?"
)
"""Strict, because host and port appear in errors and must not contain a part of the password."""


def is_postgres_url(url: str) -> bool:
    """True if this is a PostgreSQL URL in a safe form.

    In a safe form no part of the password can be taken for host or port.
    """
    return url.startswith(POSTGRES_SCHEMES) and _POSTGRES_URL.fullmatch(url) is not None


def has_password(url: str) -> bool:
    """True if a PostgreSQL URL contains a password, before the host or in the query."""
    found = _POSTGRES_URL.fullmatch(url)
    if found is None:
        return False
    _user, _colon, password = (found[1] or "").removesuffix("@").partition(":")
    _path, _mark, query = (found[4] or "").partition("?")
    return bool(password) or any(
        name == "password" for name, _value in parse_qsl(query)
    )


def is_link_template(entry: str) -> bool:
    """True if this is an address with one placeholder for the marker."""
    has_one = entry.count(MARKER_PLACEHOLDER) == 1
    return (
        has_one
        and _split_host(entry.replace(MARKER_PLACEHOLDER, "K7QM-4R2T")) is not None
    )


def parse_host(url: str) -> str | None:
    """Return the host of an address that can take an appended path, or None."""
    return None if set("?#@{} ") & set(url) else _split_host(url)


def _split_host(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        has_valid_port = parts.port is None or parts.port > 0
    except ValueError:
        return None
    return (
        parts.hostname if parts.scheme in {"http", "https"} and has_valid_port else None
    )


def split_host_port(address: str) -> tuple[str, int]:
    """Split a valid `host:port`."""
    parts = urlsplit(f"//{address}")
    return str(parts.hostname), int(parts.port or 0)


def normalize_address(url: str) -> str:
    """Return an address in the form used for comparison.

    The scheme, the usual port and the last slash are removed. This machine becomes localhost. A
    bare host name, or text that cannot be parsed, is only put into lower case.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None:
        return url.casefold()
    name = "localhost" if is_loopback(host) else host
    usual_port = {"http": 80, "https": 443}.get(parts.scheme)
    return (
        name
        + (f":{port}" if port not in {None, usual_port} else "")
        + parts.path.rstrip("/")
    )


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """True if a host is this machine."""
    return host == "localhost" or (
        is_ip(host) and ipaddress.ip_address(host).is_loopback
    )


def is_ip(value: str) -> bool:
    """True if this is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def is_listen_address(listen: str) -> bool:
    """True if this is exactly `host:port`."""
    try:
        parts = urlsplit(f"//{listen}")
        return (
            bool(parts.hostname)
            and parts.port is not None
            and parts.netloc == listen
            and "@" not in listen
        )
    except ValueError:
        return False
