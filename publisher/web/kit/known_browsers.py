"""Known browsers: sign-in attempts there are counted apart from all others at the same address.

So nobody at the address of an office, or behind the same tunnel, keeps its people from signing in.
A browser shows a sealed cookie for each user, as OWASP's device cookies do. It proves nothing else.
A guesser with a stolen one has no more attempts than from an address.
"""

import secrets
from collections.abc import Iterator, Sequence

from cryptography.fernet import InvalidToken
from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.user import User
from publisher.runtime.logs import log
from publisher.secrets import SecretError
from publisher.web.kit.site import cookie_name, get_site

BROWSER_COOKIE = "publisher_browser"
PURPOSE = "browser"
"""Prefix of the sealed text, because the same key seals other things."""
MAX_USERS = 5
"""Limit of users of one browser, as at the desk of a duty officer.

The user with the oldest sign-in there is forgotten.
"""
KEPT_SECONDS = 180 * 86_400
ID_BYTES = 16


def find_browser(request: Request, name: str) -> str:
    """Return the key that counts a user's attempts in a browser.

    It is empty if the user has not signed in there before.
    """
    return next(
        (
            f"browser {browser}"
            for browser, user, _sealed in _read_browsers(request)
            if user == name
        ),
        "",
    )


def is_known_browser(request: Request) -> bool:
    """Return True if somebody has signed in in this browser before."""
    return any(_read_browsers(request))


def keep_browser(request: Request, response: Response, user: User) -> None:
    """Let a browser know that this user has signed in there."""
    site = get_site(request)
    try:
        key = site.load_user_key()
    except SecretError as error:
        log.warning("browser_not_kept", error=error.code)
        return
    others = [
        sealed
        for _browser, name, sealed in _read_browsers(request)
        if name != user.name
    ]
    own = key.encrypt(
        "\0".join((PURPOSE, secrets.token_hex(ID_BYTES), user.name)).encode()
    ).decode()
    response.set_cookie(
        cookie_name(site, BROWSER_COOKIE),
        "~".join([own, *others][:MAX_USERS]),
        max_age=KEPT_SECONDS,
        secure=site.is_secure,
        httponly=True,
        samesite="lax",
    )


def _read_browsers(request: Request) -> Iterator[tuple[str, str, str]]:
    """Yield the id, the user and the sealed form of each entry of the cookie that is ours."""
    site = get_site(request)
    entries: Sequence[str] = request.cookies.get(
        cookie_name(site, BROWSER_COOKIE), ""
    ).split("~")[:MAX_USERS]
    if not any(entries):
        return
    try:
        key = site.load_user_key()
    except SecretError as error:
        log.warning("browser_not_known", error=error.code)
        return
    for sealed in entries:
        try:
            purpose, browser, user = (
                key.decrypt(sealed.encode(), KEPT_SECONDS).decode().split("\0")
            )
        except (InvalidToken, ValueError):
            continue
        if purpose == PURPOSE:
            yield browser, user, sealed
