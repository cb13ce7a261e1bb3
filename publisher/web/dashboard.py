"""The dashboard: the application of routes, middleware and pages for errors."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from publisher.app.application import Application
from publisher.domain.errors import (
    ApprovalError,
    InputError,
    NoSuchItemError,
    Problem,
    RefusedError,
    SignInError,
)
from publisher.domain.user import Permission
from publisher.engine.pictures import remove_unused_pictures
from publisher.engine.schedule_editor import lock_schedule
from publisher.i18n import Messages
from publisher.runtime.logs import log
from publisher.store.system_alerts import is_outage
from publisher.web.http.middleware import (
    BoundedBodies,
    KnownHosts,
    SameOrigin,
    SecurityHeaders,
    ThroughProxy,
    find_hosts,
)
from publisher.web.kit.access import (
    find_known_user,
    find_session_id,
    find_user,
    identify,
    keep_session,
    note_denial,
    protect,
    read_lang,
    render_problem,
)
from publisher.web.kit.site import Site, Visitor, get_site, get_visitor
from publisher.web.kit.static_files import serve_static
from publisher.web.kit.turns import FairTurns
from publisher.web.routes import ROUTES

MIN_COMPRESSED_BYTES = 1_000
COMPRESSION_LEVEL = 5
CLEANING_DELAY_SECONDS, CLEANING_INTERVAL_SECONDS = 300, 86_400
REFUSALS_INTERVAL_SECONDS = 5
DENIALS = frozenset({"web_not_permitted", "not_permitted"})
"""Refusals for want of a role; others only ask to sign in or to repeat the second factor."""
REFERENCE_BYTES = 4
"""Length of an error's reference. A person reports the error by it, and the log contains it."""


class Dashboard(Starlette):
    """The application of all routes. Its error and refusal pages have the security headers too."""

    def build_middleware_stack(self) -> ASGIApp:
        return SecurityHeaders(
            super().build_middleware_stack(), is_secure=self.state.site.is_secure
        )


def create_dashboard(application: Application) -> Dashboard:
    """Return the dashboard of an application that need not send."""
    site = Site(
        application=application,
        pages={
            row.path: row.permission
            for row in ROUTES
            if row.method == "GET" and row.permission is not None
        },
    )
    hosts, is_on_loopback = find_hosts(site.settings)
    entry = site.settings.dashboard
    origins = {entry.address} if entry.url else set()
    through_proxy = [Middleware(ThroughProxy, url=entry.address)] if entry.proxy else []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(remove_pictures_daily(site)),
            asyncio.create_task(write_refusals(site)),
        ]
        yield
        site.stopping.set()
        for task in tasks:
            task.cancel()

    app = Dashboard(
        routes=[
            *(
                Route(row.path, protect(row), methods=[row.method], name=row.name)
                for row in ROUTES
            ),
            Route("/static/{hash}/{name:path}", serve_static, name="static"),
        ],
        middleware=[
            *through_proxy,
            Middleware(KnownHosts, hosts=hosts, is_on_loopback=is_on_loopback),
            Middleware(SameOrigin, trusted_origins=origins),
            Middleware(
                FairTurns,
                find_session=partial(find_session_id, site),
                find_known_user=partial(find_known_user, site),
                find_user=partial(find_user, site),
            ),
            Middleware(BoundedBodies, find_user=partial(find_user, site)),
            Middleware(
                GZipMiddleware,
                minimum_size=MIN_COMPRESSED_BYTES,
                compresslevel=COMPRESSION_LEVEL,
            ),
        ],
        exception_handlers={
            HTTPException: show_http_error,
            ClientDisconnect: answer_nobody,
            NoSuchItemError: show_not_found,
            SignInError: show_not_permitted,
            RefusedError: show_refusal,
            InputError: show_invalid_file,
            ApprovalError: show_refusal,
            Exception: show_error,
        },
        lifespan=lifespan,
    )
    app.state.site = site
    return app


async def remove_pictures_daily(site: Site) -> None:
    """Remove uploaded pictures without a reference once a day.

    This process has write access to the staff's folder.
    """
    while True:
        await asyncio.sleep(CLEANING_DELAY_SECONDS)
        try:
            async with lock_schedule(site.settings.schedule_file):
                number = await remove_unused_pictures(
                    site.application.planner, site.settings.schedule_file
                )
            log.info("unused_pictures_removed", number=number)
        except Exception as error:  # noqa: BLE001 # the next day it is tried again, whatever was wrong
            log.warning("unused_pictures_kept", error=type(error).__name__)
        await asyncio.sleep(CLEANING_INTERVAL_SECONDS)


async def write_refusals(site: Site) -> None:
    """Write, every few seconds, how many refusals have followed the last that was written."""
    while True:
        await asyncio.sleep(REFUSALS_INTERVAL_SECONDS)
        try:
            await site.store.users.attempts.write_waiting()
        except Exception as error:  # noqa: BLE001 # where the database is away, the next are counted again
            log.warning("refusals_not_written", error=type(error).__name__)


async def show_http_error(request: Request, error: Exception) -> Response:
    """Show a refusal: an unknown path, a method that a path does not have, or a long form."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    codes = {404: "web_not_found", 413: "web_too_long"}
    code = codes.get(status, "web_bad_request")
    response = await _show(request, status if status in {404, 405, 413} else 400, code)
    if isinstance(error, HTTPException):
        response.headers.update(error.headers or {})
    return response


async def answer_nobody(_request: Request, _error: Exception) -> Response:
    """Send no content to a client that left, or was closed, before all of the request arrived.

    That is no fault of ours.
    """
    return Response(status_code=400)


async def show_not_found(request: Request, error: Exception) -> Response:
    """Show that there is nothing of this name, or that only the journal knows the post."""
    name = error.name if isinstance(error, NoSuchItemError) else ""
    post, visitor = (
        name.partition("@")[0].partition("#")[0],
        await find_visitor(request),
    )
    lost = await get_site(request).store.queries.lost_accounts(post)
    if seen := [one for one in lost if visitor.may(Permission.VIEW, [one])]:
        return await _show(
            request, 404, "post_lost", post=post, accounts=", ".join(seen)
        )
    return await _show(request, 404, "web_no_such_item", name=name)


async def show_not_permitted(request: Request, error: Exception) -> Response:
    code, facts = _reason(error)
    if code in DENIALS and hasattr(request.state, "visitor"):
        await note_denial(request.state.visitor)
    return await _show(request, 403, code, **facts)


async def show_refusal(request: Request, error: Exception) -> Response:
    """Show the reason that the engine refused a request."""
    code, facts = _reason(error)
    return await _show(request, 409, code, **facts)


async def show_invalid_file(request: Request, error: Exception) -> Response:
    """Show the first thing that is wrong with a file of the workspace, with its line."""
    visitor = await find_visitor(request)
    problems = error.problems if isinstance(error, InputError) else ()
    if problems and not visitor.may_everywhere(Permission.VIEW):  # they name any post
        problems = (Problem(code="schedule_invalid_elsewhere"),)
    said = visitor.messages.format_problem(problems[0]) if problems else ""
    return await _show(request, 409, "web_file_invalid", problem=said)


async def show_error(request: Request, error: Exception) -> Response:
    """Show the log's reference of an error, and nothing of the error itself.

    The status is 503 while the database is away, busy or full, and 500 for a fault of ours.
    """
    reference = secrets.token_hex(REFERENCE_BYTES)
    status, code = (
        (503, "web_database_unavailable") if is_outage(error) else (500, "web_error")
    )
    log.error(
        "page_failed",
        path=request.url.path,
        reference=reference,
        error=type(error).__name__,
        exc_info=error,
    )
    try:
        return await _show(request, status, code, reference=reference)
    except Exception as second:  # noqa: BLE001 # where the database is away there is no page either
        log.error("error_page_failed", reference=reference, error=type(second).__name__)
        words = Messages(read_lang(request), names_buttons=True).translate(
            code, reference=reference
        )
        return PlainTextResponse(words, status_code=status)


async def _show(request: Request, status: int, code: str, **facts: object) -> Response:
    async with get_site(request).store.database.snapshot():
        await find_visitor(request)
        response = await render_problem(request, status, code, **facts)
    keep_session(request, response)
    return response


async def find_visitor(request: Request) -> Visitor:
    """Return the visitor of a request, even if the request did not reach its handler."""
    if not hasattr(request.state, "visitor"):
        request.state.visitor = await identify(request)
    return get_visitor(request)


def _reason(error: Exception) -> tuple[str, Mapping[str, str]]:
    return (
        (error.code, error.facts)
        if isinstance(error, RefusedError | ApprovalError)
        else ("web_bad_request", {})
    )
