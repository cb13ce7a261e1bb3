"""Which user of the operating system runs this process, for the audit: a name given with `--by` is only claimed."""

import os
import pwd
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from publisher.domain.events import SystemUser

LOGINUID_FILE = Path("/proc/self/loginuid")
"""Who logged in, as the kernel keeps it through `su` and `sudo`; not there on every system."""
NO_LOGIN_UID = 2**32 - 1
"""What stands there for a process that no login started."""
SUDO_VARIABLE = "SUDO_USER"
MAX_NAME_CHARACTERS = 64


def read_system_user() -> SystemUser:
    """Give the user of this process, who logged in, and whom sudo says that it acts for (an unproven word)."""
    uid, login = os.getuid(), _login_uid()
    sudo = os.environ.get(SUDO_VARIABLE)
    return SystemUser(
        uid=uid,
        user=_user_name(uid),
        login_uid=login,
        login_user=None if login is None else _user_name(login),
        sudo_user=_printable_name(sudo) if sudo else None,
    )


def _login_uid() -> int | None:
    with suppress(OSError, ValueError):
        found = int(LOGINUID_FILE.read_text("ascii"))
        return None if found == NO_LOGIN_UID else found
    return None


@lru_cache(maxsize=16)
def _user_name(uid: int) -> str | None:
    """Name a user; a directory service may be asked, so once is enough."""
    try:
        return _printable_name(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return None


def _printable_name(text: str) -> str:
    """Spell a name so that it can be printed anywhere."""
    return text[:MAX_NAME_CHARACTERS] if text.isprintable() else ascii(text[:MAX_NAME_CHARACTERS])
