"""Responses: pages from templates in the visitor's language, and redirects with a notice."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import Any, Final
from urllib.parse import quote, unquote

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from jinja2.ext import Extension
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from publisher.config import Environment as WorkspaceEnvironment
from publisher.domain.cover import COVER_RATIOS, cut_box
from publisher.domain.user import NAME_BREAKING_CHARACTERS, Permission
from publisher.web.kit.frame import Moment, read_frame
from publisher.web.kit.live_parts import stream_path
from publisher.web.kit.preview import find_cover_box
from publisher.web.kit.site import Notice, Visitor, get_site, get_visitor
from publisher.web.kit.static_files import static_path

_INDENTATION: Final = re.compile(r"\n[ \t]+")


class Unindent(Extension):
    """Leaves the indentation of templates out of pages: it was a third of their size."""

    def preprocess(
        self, source: str, name: str | None, filename: str | None = None
    ) -> str:
        """Return a template's source with one space for each indentation.

        Lines keep their numbers. Without the space attributes would meet: a line's end is trimmed
        after a block.
        """
        del name, filename
        return _INDENTATION.sub("\n ", source)


@cache
def load_templates() -> Environment:
    """Return the environment of the pages' templates. A name that is not defined is an error.

    Templates that several rooms use are in `html`, and those of one room beside its handlers.
    """
    environment = Environment(
        loader=ChoiceLoader(
            [
                PackageLoader("publisher.web", "html"),
                PackageLoader("publisher.web", "."),
            ]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[Unindent],
    )
    environment.filters["person_path"] = person_path
    environment.globals |= {
        "static": static_path,
        "Permission": Permission,
        "one_day": timedelta(days=1),
        "cover_ratios": COVER_RATIOS,
        "cut_box": cut_box,
        "find_cover_box": find_cover_box,
    }
    return environment


async def render_page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    moment: Moment | None = None,
    **values: Any,  # noqa: ANN401 # whatever the template shows
) -> Response:
    """Return a page in the frame from a template, such as `posts/post`.

    `moment` is for the frame, if the page has read it. `values` are the template's names. Among
    them, `stream` is the address of the live parts of the page, besides its frame.
    """
    site, visitor = get_site(request), get_visitor(request)
    frame = (
        await read_frame(site, visitor, moment) if visitor.session is not None else None
    )
    notice = None
    # a page that asks by itself takes a part of the answer, and would lose the notice
    if visitor.session_id and "hx-request" not in request.headers:
        notice = site.sign_ins.notices.pop(visitor.session_id, None)
    values = {"stream": stream_path("frame"), "path": request.url.path, **values}
    text = render(visitor, f"{template}.html", frame=frame, notice=notice, **values)
    return HTMLResponse(text, status_code=status)


def render(visitor: Visitor, template: str, **values: Any) -> str:  # noqa: ANN401 # whatever the template shows
    """Render a template in the visitor's language."""
    return (
        load_templates().get_template(template).render(**page_values(visitor), **values)
    )


def load_macro(visitor: Visitor, template: str, name: str) -> Callable[..., str]:
    """Return a macro of TEMPLATE.html, such as `parts/frame`, in the visitor's language.

    It makes a part of a page.
    """
    module = (
        load_templates()
        .get_template(f"{template}.html")
        .make_module(dict(page_values(visitor)))
    )
    macro: Callable[..., str] = getattr(module, name)
    return macro


def page_values(visitor: Visitor) -> Mapping[str, Any]:
    """Return the names that every template may use."""
    settings, clock = visitor.site.settings, visitor.clock
    return {
        "visitor": visitor,
        "t": visitor.messages.translate,
        "hint": visitor.messages.hint,
        "formatter": visitor.formatter,
        "platform_name": visitor.messages.platform_short_name,
        "is_drill": settings.environment is WorkspaceEnvironment.DRILL,
        "lang": "zh-CN" if visitor.lang == "zh_CN" else "en",
        "now": clock.now,
        "when": clock.when,
        "time_left": clock.time_left,
        "duration": clock.duration,
        "day_name": clock.day_name,
    }


def redirect(request: Request, path: str, done: Notice | None = None) -> Response:
    """Send the browser to a page with GET. That page then shows the notice `done`."""
    if done is not None and (session := get_visitor(request).session_id):
        get_site(request).sign_ins.notices[session] = done
    return RedirectResponse(quote(path, safe="/?&=#%+@:,!~*'();"), status_code=303)


def safe_path(path: str) -> str:
    """Return a path of this site to open after a sign-in; `/today` for any other address."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\"))
    return (
        path
        if is_own and path.isprintable() and not path.startswith(("/login", "/logout"))
        else "/today"
    )


def person_path(name: str) -> str:
    """Return the page of a user. Characters that would break the path are quoted twice.

    Old names may contain such characters. They are refused by now.
    """
    quoted = quote(name, safe="")
    if set(name) & set(NAME_BREAKING_CHARACTERS) or set(name) == {"."}:
        quoted = quote(quoted.replace(".", "%2E"), safe="")
    return f"/people/{quoted}"


def read_person(request: Request) -> str:
    """Return the user of a page, from a path that `person_path` has made."""
    name = str(request.path_params["name"])
    return unquote(name) if "%" in name else name
