"""Addresses as settings spell them: of databases, of listeners, of platforms."""

import ipaddress
import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

MARKER_PLACEHOLDER = "{marker}"
"""Where a safe link takes the marker."""
_POSTGRES_SCHEMES = ("postgresql://", "postgresql+psycopg://")
_POSTGRES_URL = re.compile(r"[^:]+://([^@]*@)?(\[[^\]@]*\]|[^@:/?\[\]]*)(:\d+)?([/?].*)?")
"""What is read as host or port may be named in errors, and must not be a part of the password."""


def resolve_database_url(url: str, workspace: Path) -> str | None:
    """Resolve the path of an SQLite URL; None for what is no database of ours.

    One file has one spelling, whatever links lead to it: its lock, journal and call record are named after it.
    """
    if url.startswith(_POSTGRES_SCHEMES):
        return url if is_postgres_url(url) else None
    path = url.removeprefix("sqlite:///")
    if path == url or not path or path.startswith((":memory:", "file:")):
        return None
    return f"sqlite:///{os.path.realpath(workspace / path)}"


def is_postgres_url(url: str) -> bool:
    """Whether this is a PostgreSQL address, spelled so that nothing of its password is taken for host or port."""
    return url.startswith(_POSTGRES_SCHEMES) and _POSTGRES_URL.fullmatch(url) is not None


def has_password(url: str) -> bool:
    """Whether a PostgreSQL address carries a password, before its host or among its parameters."""
    found = _POSTGRES_URL.fullmatch(url)
    if found is None:
        return False
    _user, _colon, password = (found[1] or "").removesuffix("@").partition(":")
    _path, _mark, query = (found[4] or "").partition("?")
    return bool(password) or any(name == "password" for name, _value in parse_qsl(query))


def is_link_template(entry: str) -> bool:
    """Whether this is an address with a blank for the marker, as Weibo wants one."""
    return (
        entry.count(MARKER_PLACEHOLDER) == 1 and _split_host(entry.replace(MARKER_PLACEHOLDER, "K7QM-4R2T")) is not None
    )


def parse_host(url: str) -> str | None:
    """Give the host of an address that can stand in front of a path, or None."""
    return None if set("?#@{} ") & set(url) else _split_host(url)


def _split_host(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        has_sound_port = parts.port is None or parts.port > 0
    except ValueError:
        return None
    return parts.hostname if parts.scheme in {"http", "https"} and has_sound_port else None


def split_host_port(address: str) -> tuple[str, int]:
    """Part an accepted `host:port`."""
    parts = urlsplit(f"//{address}")
    return str(parts.hostname), int(parts.port or 0)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    return host == "localhost" or (is_ip(host) and ipaddress.ip_address(host).is_loopback)


def is_ip(value: str) -> bool:
    """Whether this is an IP address of either kind."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def is_public_ipv4(value: str) -> bool:
    """Whether an IP address is one that the world sees, of the old kind."""
    address = ipaddress.ip_address(value)
    return address.version == 4 and address.is_global


def is_listen_address(listen: str) -> bool:
    """Whether this is `host:port` and nothing else."""
    try:
        parts = urlsplit(f"//{listen}")
        return bool(parts.hostname) and parts.port is not None and parts.netloc == listen and "@" not in listen
    except ValueError:
        return False
