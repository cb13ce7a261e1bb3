"""My settings: language, theme, text size; password and second factor; where one is signed in."""

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from publisher.config import Environment, Settings
from publisher.domain.errors import RefusedError, SignInError
from publisher.domain.user import PERSONAL_PERMISSIONS, Permission, permissions_of
from publisher.engine.authentication import (
    change_password,
    check_password,
    list_agency_words,
)
from publisher.store.people.users import hash_secret
from publisher.web.kit.access import (
    MAX_RESUMED_CHARACTERS,
    clear_session_cookie,
    go_on,
    step_up,
)
from publisher.web.kit.forms import read_number
from publisher.web.kit.page import redirect, render_page, safe_path
from publisher.web.kit.site import PREFERENCES, Notice, get_site, get_visitor


async def show_me(request: Request) -> Response:
    return await _render_me(request)


async def _render_me(
    request: Request, problems: Mapping[str, str] | None = None, *, status: int = 200
) -> Response:
    store, visitor = get_site(request).store, get_visitor(request)
    return await render_page(
        request,
        "people/me",
        status=status,
        sessions=await store.sign_ins.sessions_of(visitor.user.name),
        tokens=await store.sign_ins.tokens_of(visitor.user.name),
        this_session=hash_secret(visitor.session_id),
        scopes=[
            each
            for each in list_token_scopes(get_site(request).settings)
            if each in permissions_of(visitor.user)
        ],
        preferences=PREFERENCES,
        problems=problems or {},
    )


async def show_resets(request: Request) -> Response:
    """Show that the visitor's sign-in was reset, after each sign-in for a week, and then go on."""
    resets = await get_site(request).store.user_changes.recent_resets(
        get_visitor(request).user.name
    )
    following = safe_path(request.query_params.get("next", ""))
    return await render_page(request, "people/resets", resets=resets, next=following)


def list_token_scopes(settings: Settings) -> Sequence[Permission]:
    """Return the possible scopes of tokens.

    In live operation, these exclude everything that takes a person with password and code.
    """
    is_live = settings.environment is Environment.LIVE
    return [
        each for each in Permission if not (is_live and each in PERSONAL_PERMISSIONS)
    ]


async def enter_step_up(request: Request) -> Response:
    """Check the second factor again, and go back to the page that asked, with its sent form."""
    visitor, form = get_visitor(request), await request.form()
    following = safe_path(str(form.get("next", "")))
    resumed = str(form.get("resume", ""))[:MAX_RESUMED_CHARACTERS]
    try:
        await step_up(request, str(form.get("code", "")))
    except SignInError as error:
        problem = visitor.messages.translate(error.code, **error.facts)
        return await render_page(
            request,
            "people/step_up",
            status=422,
            next=following,
            resume=resumed,
            problem=problem,
        )
    return await go_on(request, get_visitor(request).session_id, following, resumed)


async def replace_password(request: Request) -> Response:
    """Set a new password after the old one was typed; all sessions and tokens end, this one too."""
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    translate, name = visitor.messages.translate, visitor.user.name
    if not visitor.is_stepped_up:
        raise SignInError("web_step_up_needed")
    try:
        site.limits.require_attempt(visitor.source, name)
        user = await check_password(
            site.store.users, name, str(form.get("old", "")), visitor.source
        )
    except SignInError as error:
        code = "web_password_wrong" if error.code == "sign_in_failed" else error.code
        return await _render_me(
            request, {"old": translate(code, **error.facts)}, status=422
        )
    password = str(form.get("password", ""))
    try:
        if password != str(form.get("password_again", "")):
            raise RefusedError("passwords_differ")  # noqa: TRY301 # shown like the others
        words = list_agency_words(site.settings)
        await change_password(site.store.users, user, password, visitor.actor, words)
    except RefusedError as error:
        return await _render_me(
            request, {"password": translate(error.code, **error.facts)}, status=422
        )
    site.streams.end_user(name)
    response = redirect(request, "/login?next=/me")
    clear_session_cookie(request, response)
    return response


async def end_session(request: Request) -> Response:
    """End one of the visitor's own sessions, on another device."""
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    session = str(form.get("session", ""))
    await site.store.sign_ins.end_session_of(visitor.user.name, session, visitor.actor)
    site.streams.end_user(visitor.user.name)
    if session == hash_secret(visitor.session_id):
        response = redirect(request, "/login")
        clear_session_cookie(request, response)
        return response
    return redirect(request, "/me", Notice(code="web_done_session_ended"))


async def issue_token(request: Request) -> Response:
    """Issue a token for scripts, after the password was typed; it is shown once."""
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    translate, name = visitor.messages.translate, visitor.user.name
    scope = {
        each
        for each in list_token_scopes(site.settings)
        if str(each) in form.getlist("scope")
    }
    if not visitor.is_stepped_up:
        raise SignInError("web_step_up_needed")
    if not scope:
        return await _render_me(
            request, {"scope": translate("web_scope_missing")}, status=422
        )
    try:
        site.limits.require_attempt(visitor.source, name)
        user = await check_password(
            site.store.users, name, str(form.get("token_password", "")), visitor.source
        )
    except SignInError as error:
        code = "web_password_wrong" if error.code == "sign_in_failed" else error.code
        return await _render_me(
            request, {"token_password": translate(code, **error.facts)}, status=422
        )
    try:
        token = await site.store.sign_ins.issue_token(
            name, scope, visitor.actor, signed_in=user
        )
    except RefusedError:
        return await _render_me(
            request, {"scope": translate("web_scope_not_yours")}, status=422
        )
    return redirect(
        request, "/me", Notice(code="web_done_token", facts={"token": token})
    )


async def end_token(request: Request) -> Response:
    store, visitor, form = (
        get_site(request).store,
        get_visitor(request),
        await request.form(),
    )
    await store.sign_ins.end_token(
        visitor.user.name, read_number(form, "token"), visitor.actor
    )
    return redirect(request, "/me", Notice(code="web_done_token_ended"))
