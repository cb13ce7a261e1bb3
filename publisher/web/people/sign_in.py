"""Sign-in by password and second factor, the first sign-in by a one-time link, and sign-out."""

import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import segno
from starlette.requests import Request
from starlette.responses import Response

from publisher.config import Environment
from publisher.domain.addresses import is_loopback, split_host_port
from publisher.domain.delivery import Actor, Role
from publisher.domain.errors import RefusedError, SignInError
from publisher.domain.user import User
from publisher.engine.authentication import (
    SecondFactor,
    activate_user,
    check_code,
    check_password,
    list_agency_words,
    make_second_factor,
    read_link,
)
from publisher.store.people.sign_ins import OpenedLink
from publisher.store.people.users import LINK_LIFETIME, LINK_METHOD, hash_secret
from publisher.web.kit.access import (
    MAX_RESUMED_CHARACTERS,
    clear_session_cookie,
    go_on,
    show_first_run,
)
from publisher.web.kit.known_browsers import (
    find_browser,
    is_known_browser,
    keep_browser,
)
from publisher.web.kit.page import redirect, render_page, safe_path
from publisher.web.kit.site import (
    PENDING_LIFETIME_SECONDS,
    SETUP_LIFETIME_SECONDS,
    Notice,
    PendingSignIn,
    Site,
    cookie_name,
    get_site,
    get_visitor,
)
from publisher.web.kit.turns import TURN, RequestTurn

PENDING_COOKIE, SETUP_COOKIE = "publisher_sign_in", "publisher_setup"
UNUSED_PASSWORD_BYTES = 32
MAX_TYPED_CHARACTERS = 200
"""Limit of a name.

A longer name belongs to nobody, and would be kept among the counts of attempts.
"""


async def show_login(request: Request) -> Response:
    if get_visitor(request).session is not None:
        return redirect(request, safe_path(request.query_params.get("next", "")))
    if not await get_site(request).require_users():
        return await show_first_run(request)
    following = safe_path(request.query_params.get("next", ""))
    return await render_page(
        request,
        "login",
        name="",
        problem="",
        next=following,
        resume="",
        is_expired=False,
    )


async def log_in(request: Request) -> Response:
    """Check name and password; a user with a second factor goes on to that."""
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    name = str(form.get("name", "")).strip()[:MAX_TYPED_CHARACTERS]
    password = str(form.get("password", ""))
    following = safe_path(str(form.get("next", "")))
    resumed = (
        str(form.get("resume", ""))[:MAX_RESUMED_CHARACTERS]
        if is_known_browser(request)
        else ""
    )
    try:
        user = await check_limited_password(request, name, password)
    except SignInError as error:
        problem = visitor.messages.translate(error.code, **error.facts)
        status = 429 if error.code == "sign_in_delayed" else 422
        values: dict[str, Any] = {
            "next": following,
            "resume": resumed,
            "is_expired": bool(resumed),
        }
        return await render_page(
            request, "login", status=status, name=name, problem=problem, **values
        )
    if not user.has_second_factor:
        return await _start_session(request, user, "password", following, resumed)
    key = secrets.token_urlsafe()
    pending = PendingSignIn(user=user, next=following, resumed=resumed)
    site.sign_ins.add_pending(hash_secret(key), pending)
    response = redirect(request, "/login/code")
    response.set_cookie(
        cookie_name(site, PENDING_COOKIE),
        key,
        max_age=PENDING_LIFETIME_SECONDS,
        secure=site.is_secure,
        httponly=True,
        samesite="lax",
    )
    return response


async def check_limited_password(request: Request, name: str, password: str) -> User:
    """Check a password in its turn, unless there were too many attempts. Raises SignInError."""
    site, source = get_site(request), get_visitor(request).source
    counted_as = find_browser(request, name) or source
    site.limits.require_attempt(counted_as, name)
    turn: RequestTurn = request.scope[TURN]
    turn.end()  # from here on sign-ins have an order of their own
    async with site.limits.turn(counted_as):
        user = await check_password(
            site.store.users, name, password, source, counted_as=counted_as
        )
    site.limits.note_success(counted_as, name)
    return user


async def show_code(request: Request) -> Response:
    if _find_pending(request) is None:
        return redirect(request, "/login")
    return await render_page(request, "people/login_code", problem="")


async def enter_code(request: Request) -> Response:
    """Check the code of the second factor, or a recovery code, and start the session."""
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    pending = _find_pending(request)
    if pending is None:
        return redirect(request, "/login")
    try:
        name = pending.user.name
        site.limits.require_attempt(
            find_browser(request, name) or visitor.source, f"{name} code"
        )
        code = str(form.get("code", ""))
        principal = await check_code(
            site.store.users, pending.user, code, visitor.source, site.load_user_key
        )
    except SignInError as error:
        problem = visitor.messages.translate(error.code, **error.facts)
        if error.code == "sign_in_ended":
            return await _begin_again(request, pending, problem)
        status = 429 if error.code == "sign_in_delayed" else 422
        return await render_page(
            request, "people/login_code", status=status, problem=problem
        )
    site.sign_ins.pending.drop(
        hash_secret(request.cookies[cookie_name(site, PENDING_COOKIE)])
    )
    response = await _start_session(
        request, pending.user, principal.method, pending.next, pending.resumed
    )
    response.delete_cookie(
        cookie_name(site, PENDING_COOKIE),
        secure=site.is_secure,
        httponly=True,
        samesite="lax",
    )
    return response


async def _begin_again(
    request: Request, pending: PendingSignIn, problem: str
) -> Response:
    """Ask for name and password again. The ones that were right before no longer are."""
    site = get_site(request)
    site.sign_ins.pending.drop(
        hash_secret(request.cookies[cookie_name(site, PENDING_COOKIE)])
    )
    values: dict[str, Any] = {
        "next": pending.next,
        "resume": pending.resumed,
        "is_expired": False,
        "name": "",
        "problem": problem,
    }
    response = await render_page(request, "login", status=401, **values)
    response.delete_cookie(
        cookie_name(site, PENDING_COOKIE),
        secure=site.is_secure,
        httponly=True,
        samesite="lax",
    )
    return response


def _find_pending(request: Request) -> PendingSignIn | None:
    site = get_site(request)
    return site.sign_ins.pending.get(
        hash_secret(request.cookies.get(cookie_name(site, PENDING_COOKIE), "")),
        PENDING_LIFETIME_SECONDS,
    )


async def _start_session(
    request: Request, user: User, method: str, following: str, resumed: str = ""
) -> Response:
    """Sign a user in and go on to where he wanted to; a form that was kept is shown to be sent."""
    site, visitor = get_site(request), get_visitor(request)
    by = Actor(role=Role.PERSON, name=user.name, sign_in=method)
    session_id = await site.store.sign_ins.start_session(
        user.name, visitor.source, by, signed_in=user
    )
    session = await site.store.sign_ins.find_session(session_id)
    was_reset = bool(await site.store.user_changes.recent_resets(user.name))
    if was_reset and not resumed:
        following = f"/me/resets?{urlencode({'next': following})}"
    request.state.visitor = visitor = replace(
        visitor, session_id=session_id, session=session
    )
    if (
        was_reset and resumed
    ):  # the form goes first, what has failed is shown the next time
        site.sign_ins.notices[session_id] = Notice(code="web_resets_title")
    elif (
        failed := await site.store.users.attempts.take_failures(user.name)
    ) is not None:
        at, source = (
            visitor.clock.when(failed.last_at),
            failed.source.removeprefix("address "),
        )
        facts = {"number": failed.number, "at": at, "source": source}
        site.sign_ins.notices[session_id] = Notice(
            code="web_failed_sign_ins", facts=facts
        )
    response = await go_on(request, session_id, following, resumed)
    keep_browser(request, response, user)
    return response


async def show_logout(request: Request) -> Response:
    return await render_page(request, "people/logout")


async def log_out(request: Request) -> Response:
    site, visitor = get_site(request), get_visitor(request)
    await site.store.sign_ins.end_session(visitor.session_id, visitor.actor)
    site.streams.end_session(visitor.session_id)
    response = redirect(request, "/login")
    clear_session_cookie(request, response)
    return response


async def show_link_form(request: Request) -> Response:
    """Show where to paste a one-time link.

    A browser with script sends the part behind `#` from here.
    """
    return await render_page(request, "people/setup_link")


async def open_link(request: Request) -> Response:
    """Show the user of a one-time link, and the one button. Nothing more happens before its press.

    Nothing is shown or bound before that. Scanners of mail and previews of messengers open links
    too.
    """
    link = await _read_link(request)
    opened = await _open_link(request, link, begins=False)
    if isinstance(opened, Response):
        return opened
    return await render_page(request, "people/setup_begin", user=opened.user, link=link)


async def begin_setup(request: Request) -> Response:
    """Bind a one-time link to this browser, by a cookie: no other may go on with it."""
    site = get_site(request)
    opened = await _open_link(request, await _read_link(request), begins=True)
    if isinstance(opened, Response):
        return opened
    response = redirect(request, "/setup/form")
    response.set_cookie(
        cookie_name(site, SETUP_COOKIE),
        opened.browser,
        max_age=int(LINK_LIFETIME / timedelta(seconds=1)),
        secure=site.is_secure,
        httponly=True,
        samesite="strict",
    )
    return response


async def _read_link(request: Request) -> str:
    return read_link(str((await request.form()).get("link", "")))


async def _open_link(
    request: Request, link: str, *, begins: bool
) -> OpenedLink | Response:
    """Return the opened link, or a page that explains why this browser may not go on."""
    site, source = get_site(request), get_visitor(request).source
    opened = await site.store.sign_ins.open_link(
        link, _browser_key(request), source, begins=begins
    )
    if opened is None:
        return await render_page(request, "people/link_invalid", status=404)
    if opened.is_elsewhere:
        return await render_page(request, "people/link_elsewhere", status=409)
    return opened


def _browser_key(request: Request) -> str:
    return request.cookies.get(cookie_name(get_site(request), SETUP_COOKIE), "")


async def show_setup(request: Request) -> Response:
    """Show the setup form to the holder of a one-time link, in the browser that began it."""
    return await _render_setup(request)


async def set_up(request: Request) -> Response:
    """Use up a one-time link: set the password and the second factor, and sign in.

    In a drill on this machine a user may go in without either.
    """
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    browser = _browser_key(request)
    if (known := await site.store.users.find_link(browser)) is None:
        return await render_page(request, "people/link_invalid", status=404)
    is_skipped, is_left = (
        "skip" in form and may_skip_setup(site, known),
        known.has_second_factor,
    )
    factor = site.sign_ins.setups.get(hash_secret(browser))
    if factor is None and not is_skipped and not is_left:
        problem = visitor.messages.translate("web_setup_again")
        return await _render_setup(request, "code", problem, status=409)
    password = (
        secrets.token_urlsafe(UNUSED_PASSWORD_BYTES)
        if is_skipped
        else str(form.get("password", ""))
    )
    try:
        # the link is the proof of its holder: others at the same address use up nothing
        site.limits.require_attempt(f"link {hash_secret(browser)}", "setup")
        if not (is_skipped or known.has_password) and password != form.get(
            "password_again"
        ):
            raise RefusedError("passwords_differ")  # noqa: TRY301 # shown like the others
        user = await activate_user(
            site.store.users,
            browser,
            password,
            by=lambda name: Actor(role=Role.PERSON, name=name, sign_in=LINK_METHOD),
            second_factor=None if is_skipped or is_left else factor,
            code=str(form.get("code", "")),
            load_user_key=site.load_user_key,
            source=visitor.source,
            words=list_agency_words(site.settings),
        )
    except RefusedError as error:
        problem = visitor.messages.translate(error.code, **error.facts)
        is_of_code = error.code == "code_wrong" or (
            is_left and isinstance(error, SignInError)
        )
        key = "code" if is_of_code else "password"
        status = 429 if error.code == "sign_in_delayed" else 422
        return await _render_setup(request, key, problem, status=status)
    site.sign_ins.setups.drop(hash_secret(browser))
    site.limits.note_success(visitor.source, "setup")
    response = await _start_session(request, user, LINK_METHOD, "/today")
    response.delete_cookie(
        cookie_name(site, SETUP_COOKIE),
        secure=site.is_secure,
        httponly=True,
        samesite="strict",
    )
    return response


async def _render_setup(
    request: Request, key: str = "", problem: str = "", *, status: int = 200
) -> Response:
    """Show the form of a one-time link; `problem` stands at the field `key`."""
    site, browser = get_site(request), _browser_key(request)
    user = await site.store.users.find_link(browser)
    if user is None:
        return await render_page(request, "people/link_invalid", status=404)
    factor = keep_setup(site, browser, user)
    qr = segno.make(factor.uri, error="m").svg_data_uri(
        scale=5, border=2, dark="#18212f", light="#ffffff"
    )
    values: dict[str, Any] = {
        "user": user,
        "factor": factor,
        "qr": qr,
        "may_skip": may_skip_setup(site, user),
    }
    return await render_page(
        request, "people/setup", status=status, problems={key: problem}, **values
    )


def keep_setup(site: Site, browser: str, user: User) -> SecondFactor:
    """Return the second factor of a setup that has begun.

    It is the same one when its page is opened again.
    """
    key = hash_secret(browser)
    factor = site.sign_ins.setups.get(key, SETUP_LIFETIME_SECONDS)
    if factor is None:
        factor = make_second_factor(user.name)
        site.sign_ins.setups.set(key, factor)
    return factor


def may_skip_setup(site: Site, user: User) -> bool:
    """Return True for a new user in a drill that only this machine can reach.

    Nothing is at stake there.
    """
    if user.has_password or user.has_second_factor or user.awaits_second_factor:
        return False
    host, _port = split_host_port(site.settings.dashboard.listen)
    return (
        site.settings.environment is Environment.DRILL
        and is_loopback(host)
        and not site.is_secure
    )
