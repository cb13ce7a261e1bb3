"""Access of visitors: sessions in cookies, and the checks of a route before its handler runs."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import FormData, UploadFile
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from publisher.domain.characters import is_storable
from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.domain.user import Permission, RefusalKind
from publisher.engine.authentication import check_code
from publisher.i18n import LANGUAGES, Lang, Messages
from publisher.store.people.users import hash_secret
from publisher.web.http.server import peer_key
from publisher.web.kit.known_browsers import is_known_browser
from publisher.web.kit.page import redirect, render_page, safe_path
from publisher.web.kit.site import (
    PREFERENCES,
    Site,
    Visitor,
    cookie_name,
    get_site,
    get_visitor,
)

Handler = Callable[[Request], Awaitable[Response]]
MAX_RESUMED_CHARACTERS = 400_000
"""The largest form that is kept until its sender has signed in again.

Such a form was posted after its session had ended.
"""
PASSWORD_FIELDS = frozenset({"password", "password_again", "old", "token_password"})
"""A form with one of them is not kept after its session has ended. It needs new entry anyway."""
MAX_PARTS, MAX_PART_BYTES = 2_000, 2**20
"""Fields of a form that may carry files, and the bytes of each but the files."""
PERSONAL_PATHS = ("/approve/", "/urgent/")
"""What is sent there is the decision of one person: after a sign-in it is taken on its page again.
"""
STOPS = frozenset({"/logout", "/me/sessions", "/pause"})
REMARK_PREFIX = "remark."
"""The name of a field with a remark on a passage begins so."""
SECRET_FIELDS = PASSWORD_FIELDS | {"code"}
MAX_SOURCE_CHARACTERS = 64
PREFERENCE_SECONDS = 365 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoute:
    """A row of the table of routes. Without a permission anybody may open it, even with no sign-in.

    A permission on any account is enough to open a page. The page then checks its contents and
    actions for the accounts concerned.
    """

    path: str
    method: str
    name: str
    permission: Permission | None
    handler: Handler


SESSION_COOKIE = "publisher_session"
CLEARED_DATA = '"cache", "storage"'
"""The data that a browser clears at the end of a session.

Cookies are not among it: preferences stay, and other ports share the cookies.
"""


def set_session_cookie(request: Request, response: Response, session_id: str) -> None:
    """Let the browser keep a session until it is closed."""
    site = get_site(request)
    name = cookie_name(site, SESSION_COOKIE)
    response.set_cookie(
        name, session_id, secure=site.is_secure, httponly=True, samesite="lax"
    )


def clear_session_cookie(request: Request, response: Response) -> None:
    """Let the browser forget an ended session, and the pages that it has kept."""
    site = get_site(request)
    name = cookie_name(site, SESSION_COOKIE)
    response.delete_cookie(name, secure=site.is_secure, httponly=True, samesite="lax")
    response.headers["clear-site-data"] = CLEARED_DATA


async def identify(request: Request) -> Visitor:
    """Return the visitor of a request."""
    site = get_site(request)
    session_id = request.cookies.get(cookie_name(site, SESSION_COOKIE), "")
    # a page that asks by itself is none
    is_use = "hx-request" not in request.headers and request.url.path != "/events"
    session = None
    if session_id:
        session = await site.store.sign_ins.find_session(session_id, is_use=is_use)
        site.sign_ins.known.note(
            session_id, session.principal.user.name if session is not None else ""
        )
    return Visitor(
        site=site,
        lang=read_lang(request),
        theme=_read_preference(request, "theme", "system"),
        size=_read_preference(request, "size", "normal"),
        keys=_read_preference(request, "keys", "on"),
        source=find_source(request),
        session_id=session_id if session is not None else "",
        session=session,
    )


def find_session_id(site: Site, scope: Scope) -> str:
    """Return the session that a request names; empty without any."""
    name = cookie_name(site, SESSION_COOKIE)
    return HTTPConnection(scope).cookies.get(name, "")


async def find_user(site: Site, scope: Scope) -> str:
    """Return the name of the user of a request; empty for a visitor without a session."""
    session_id = find_session_id(site, scope)
    session = (
        await site.store.sign_ins.find_session(session_id, is_use=False)
        if session_id
        else None
    )
    user = "" if session is None else session.principal.user.name
    site.sign_ins.known.note(session_id, user)
    return user


def find_known_user(site: Site, scope: Scope) -> str | None:
    """Return the user of a request's session as last looked up.

    It is None for a new session, and empty without any.
    """
    session_id = find_session_id(site, scope)
    return site.sign_ins.known.find_user(session_id) if session_id else ""


def _read_preference(request: Request, name: str, default: str) -> str:
    """Return a preference from the query, else from its cookie."""
    cookie, values = PREFERENCES[name]
    wanted = (
        request.query_params.get(name),
        request.cookies.get(cookie_name(get_site(request), cookie)),
    )
    return next((value for value in wanted if value in values), None) or default


def read_lang(request: Request) -> Lang:
    chosen = _read_preference(request, "lang", get_site(request).settings.lang)
    return next((lang for lang in LANGUAGES if lang == chosen), LANGUAGES[0])


def find_source(request: Request) -> str:
    """Return where a request comes from, as attempts to sign in are counted."""
    host = request.client.host if request.client else ""
    try:
        return f"address {peer_key(host)}"
    except ValueError:
        return f"address {host[:MAX_SOURCE_CHARACTERS]}"


def protect(route: PageRoute) -> Handler:
    """Return the handler of a route. It runs only for a visitor with permission to open it.

    A page shows one moment.
    """

    async def handle(request: Request) -> Response:
        request.state.visitor = visitor = await identify(request)
        if route.method == "POST":
            await request.form(max_fields=MAX_PARTS, max_part_size=MAX_PART_BYTES)
        if route.permission is not None and visitor.session is None:
            if not await get_site(request).require_users():
                return await show_first_run(request)
            return await ask_to_sign_in(request)
        if route.permission is not None and not visitor.may(route.permission):
            await note_denial(visitor)
            return await render_problem(
                request, 403, "web_not_permitted", permission=route.permission
            )
        if not await has_storable_texts(request):
            return await render_problem(request, 400, "web_bad_request")
        if wait := await count_actions(request, route):
            return await show_too_many_actions(request, wait)
        response = await route.handler(request)
        keep_session(request, response)
        keep_preferences(request, response)
        return response

    async def show(request: Request) -> Response:
        async with get_site(request).store.database.snapshot():
            return await handle(request)

    return show if route.method == "GET" else handle


async def count_actions(request: Request, route: PageRoute) -> int:
    """Count what a session orders; return the seconds to wait if it is too much, else 0.

    An act on several posts counts as so many, and each remark counts. A pause of everything and the
    end of a session are counted by themselves: a thief's flood of other acts does not use them up.
    """
    visitor = get_visitor(request)
    if route.method != "POST" or visitor.session is None:
        return 0
    form = await request.form()
    items = [
        name
        for name, value in form.multi_items()
        if value and (name == "item" or name.startswith(REMARK_PREFIX))
    ]
    return get_site(request).limits.count_actions(
        visitor.user.name,
        hash_secret(visitor.session_id),
        max(1, len(items)),
        route.path if route.path in STOPS else "",
    )


async def show_first_run(request: Request) -> Response:
    """Show the command for the first user: to a person on the host, as nobody else is there."""
    command = Messages(get_visitor(request).lang).translate("web_first_run_command")
    return await render_page(request, "first_run", command=command)


async def show_too_many_actions(request: Request, wait: int) -> Response:
    """Say that nothing was done, and when to try again."""
    response = await render_problem(
        request, 429, "web_too_many_actions", seconds=str(wait)
    )
    response.headers["retry-after"] = str(wait)
    return response


async def has_storable_texts(request: Request) -> bool:
    """Return True if every database can store the texts of a request's address and form.

    The texts of a browser always can be stored.
    """
    fields = [*request.query_params.multi_items()]
    if request.method == "POST":
        fields += [
            (name, text)
            for name, text in (await request.form()).multi_items()
            if isinstance(text, str)
        ]
    return all(
        map(
            is_storable,
            [*request.path_params.values(), *(text for _name, text in fields)],
        )
    )


async def note_denial(visitor: Visitor) -> None:
    """Record that a visitor asked for something without a role for it."""
    name = visitor.user.name if visitor.session is not None else ""
    await visitor.site.store.users.attempts.note_refusal(
        RefusalKind.PERMISSION, name, visitor.source
    )


def keep_preferences(request: Request, response: Response) -> None:
    """Keep a visitor's choices from the query of any page: language, theme, size of text."""
    for name, (cookie, values) in PREFERENCES.items():
        if (value := request.query_params.get(name)) in values and value is not None:
            site = get_site(request)
            response.set_cookie(
                cookie_name(site, cookie),
                value,
                max_age=PREFERENCE_SECONDS,
                secure=site.is_secure,
                httponly=True,
                samesite="lax",
            )


async def ask_to_sign_in(request: Request) -> Response:
    """Send a visitor to the sign-in, and back afterwards. A posted form is kept for later sending.

    It is kept for browsers where somebody has signed in before: others could fill the memory with
    forms that are sent back to them. The stream of an open page is only refused: its page says that
    the session is over.
    """
    if request.url.path == "/events":
        return Response(status_code=401)
    if request.method == "GET":
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(
            f"/login?{urlencode({'next': request.url.path + query})}", status_code=303
        )
    async with request.form() as form:
        is_kept = (
            PASSWORD_FIELDS.isdisjoint(form)
            and not request.url.path.startswith(PERSONAL_PATHS)
            and is_known_browser(request)
        )
        following, resumed = (
            (request.url.path, keep_form(form))
            if is_kept
            else (find_own_page(request), "")
        )
    values: dict[str, Any] = {
        "next": following,
        "resume": resumed,
        "name": "",
        "problem": "",
        "is_expired": True,
    }
    return await render_page(request, "login", status=401, **values)


def find_own_page(request: Request) -> str:
    """Return the page of this site that a form was sent from, to reopen it; else `/today`."""
    return safe_path(urlsplit(request.headers.get("referer", "")).path)


def keep_form(form: FormData) -> str:
    """Return the fields of a posted form as one text. The next page keeps it until it may be sent.

    The typist's secrets are left out: the next person at this screen could read them.
    """
    kept, length = [], 0
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) or name in SECRET_FIELDS:
            continue
        field = urlencode([(name, value)])
        length += len(field) + 1
        if length > MAX_RESUMED_CHARACTERS:
            break
        kept.append(field)
    return "&".join(kept)


def read_kept_form(kept: str) -> Sequence[tuple[str, str]]:
    """Return the fields of a form that `keep_form` wrote; none of one that it has not written."""
    if len(kept) > MAX_RESUMED_CHARACTERS:
        return ()
    with contextlib.suppress(ValueError):
        return parse_qsl(kept, keep_blank_values=True, max_num_fields=MAX_PARTS + 1)
    return ()


async def render_problem(
    request: Request, status: int, code: str, **facts: object
) -> Response:
    """Return a page that says why nothing was done."""
    visitor = get_visitor(request)
    if "post" in facts and visitor.session is not None:
        named = PostId(str(facts["post"]).partition("#")[0])
        visible = await visitor.find_visible([named])
        titles = await visitor.site.store.queries.titles(visible)
        visitor = request.state.visitor = replace(visitor, titles=titles)
    translate = visitor.messages.translate
    if (permission := facts.get("permission")) in frozenset(Permission):
        facts["permission"] = translate(f"web_may_{permission}")
    if (state := facts.get("state")) in frozenset(State):
        facts["state"] = translate(f"state_{state}")
    values: dict[str, Any] = {
        "title": translate(f"web_problem_{status}"),
        "text": translate(code, **facts),
    }
    hint = visitor.messages.hint(code, **facts)
    return await render_page(
        request, "problem", status=status, number=status, help=hint, **values
    )


async def step_up(request: Request, code: str) -> None:
    """Check a code of the visitor's second factor, and give the session a new id.

    Every response sets the new id. Raises SignInError for a wrong code.
    """
    site, visitor = get_site(request), get_visitor(request)
    session = hash_secret(visitor.session_id)
    await check_code(
        site.store.users,
        visitor.user,
        code,
        visitor.source,
        site.load_user_key,
        session=session,
    )
    replaced = await site.store.sign_ins.step_up(visitor.session_id, visitor.actor)
    stepped_up = await site.store.sign_ins.find_session(replaced)
    request.state.visitor = replace(visitor, session_id=replaced, session=stepped_up)
    request.state.is_session_new = True


def keep_session(request: Request, response: Response) -> None:
    """Set the id that a session got during a request. The old id is no longer valid in any case."""
    if getattr(request.state, "is_session_new", False):
        set_session_cookie(request, response, get_visitor(request).session_id)


async def go_on(
    request: Request, session_id: str, following: str, resumed: str
) -> Response:
    """Go on to the visitor's page under a new session. A kept form is shown, ready to be sent."""
    if resumed:
        # another person may have filled in the form: a post is reviewed before this one saves it
        kept = read_kept_form(resumed)
        fields = [(name, value) for name, value in kept if name != "do"]
        fields.append(("do", "refresh"))
        response: Response = await render_page(
            request, "resume", next=following, fields=fields
        )
    else:
        response = redirect(request, following)
    set_session_cookie(request, response, session_id)
    return response
