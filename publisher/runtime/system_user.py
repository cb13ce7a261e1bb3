"""The operating system user of this process, for the audit: a name given with `--by` is unproven."""

import os
import pwd
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from publisher.domain.events import SystemUser

LOGINUID_FILE = Path("/proc/self/loginuid")
"""The login user, which the kernel keeps through `su` and `sudo`. Not every system has it."""
NO_LOGIN_UID = 2**32 - 1
"""The content of LOGINUID_FILE in a process that no login started."""
SUDO_VARIABLE = "SUDO_USER"
MAX_NAME_CHARACTERS = 64


def read_system_user() -> SystemUser:
    """Return the user of this process, the login user, and the user that sudo names (unproven)."""
    uid, login, sudo = os.getuid(), None, os.environ.get(SUDO_VARIABLE)
    with suppress(OSError, ValueError):
        found = int(LOGINUID_FILE.read_text("ascii"))
        login = None if found == NO_LOGIN_UID else found
    return SystemUser(
        uid=uid,
        user=_user_name(uid),
        login_uid=login,
        login_user=None if login is None else _user_name(login),
        sudo_user=_printable_name(sudo) if sudo else None,
    )


@lru_cache(maxsize=16)
def _user_name(uid: int) -> str | None:
    """Return a user's name. Cached, as this may query a directory service."""
    try:
        return _printable_name(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return None


def _printable_name(text: str) -> str:
    """Return a name with unprintable characters escaped, at most MAX_NAME_CHARACTERS of it."""
    return text[:MAX_NAME_CHARACTERS] if text.isprintable() else ascii(text[:MAX_NAME_CHARACTERS])
