"""Responses: pages from templates in the visitor's language, and redirects that say what was done."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from publisher.config import Environment as WorkspaceEnvironment
from publisher.domain.user import Permission
from publisher.web.frame import read_frame
from publisher.web.site import Notice, Visitor, get_site, get_visitor
from publisher.web.static_files import static_path

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@cache
def load_templates() -> Environment:
    """Return the environment of the pages' templates. A name that is not defined is an error."""
    environment = Environment(
        loader=PackageLoader("publisher.web", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"static": static_path, "Permission": Permission, "one_day": timedelta(days=1)}
    return environment


async def render_page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 # whatever the template shows
    """Return a page from `html/TEMPLATE.html` in the frame. `values` are the names that the template uses."""
    site, visitor = get_site(request), get_visitor(request)
    frame = await read_frame(site, visitor) if visitor.session is not None else None
    notice = site.notices.pop(visitor.session_id, None) if visitor.session_id else None
    text = render(visitor, f"{template}.html", frame=frame, notice=notice, path=request.url.path, **values)
    return HTMLResponse(text, status_code=status)


def render(visitor: Visitor, template: str, **values: Any) -> str:  # noqa: ANN401 # whatever the template shows
    """Render a template, such as a row of a live page, in the visitor's language."""
    return load_templates().get_template(template).render(**page_values(visitor), **values)


def page_values(visitor: Visitor) -> Mapping[str, Any]:
    """Return the names that every template may use."""
    settings, clock = visitor.site.settings, Clock(visitor)
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
        "day_name": clock.day_name,
    }


class Clock:
    """How a page writes instants, in the workspace's time zone."""

    def __init__(self, visitor: Visitor) -> None:
        self.timezone = visitor.site.settings.timezone
        self.translate = visitor.messages.translate
        self.now = visitor.site.runtime.now().astimezone(self.timezone)

    def when(self, instant: datetime) -> str:
        """Return today's instants as 08:30, those within a week with the day, others with the date."""
        local = instant.astimezone(self.timezone)
        clock = f"{local:%H:%M}"
        days = (local.date() - self.now.date()).days
        if days == 0:
            return clock
        if days in {-1, 1}:
            return f"{self.translate('web_tomorrow' if days == 1 else 'web_yesterday')} {clock}"
        if 1 < days < 7:
            return f"{self.translate(f'web_{WEEKDAYS[local.weekday()]}')} {clock}"
        code = "web_date" if local.year == self.now.year else "web_date_year"
        return f"{self.translate(code, year=local.year, month=local.month, day=local.day)} {clock}"

    def day_name(self, instant: datetime) -> str:
        """Return a day with its weekday, such as 1月11日 星期一."""
        local = instant.astimezone(self.timezone)
        weekday = self.translate(f"web_{WEEKDAYS[local.weekday()]}_long")
        return self.translate("web_day", month=local.month, day=local.day, weekday=weekday)

    def time_left(self, instant: datetime) -> str:
        """Return how long there is until an instant within the next two hours, else the empty text."""
        left = instant - self.now
        if not timedelta(0) <= left <= timedelta(hours=2):
            return ""
        minutes = int(left.total_seconds()) // 60
        return self.translate("web_minutes_left", minutes=minutes) if minutes else self.translate("web_under_a_minute")


def redirect(request: Request, path: str, done: Notice | None = None) -> Response:
    """Send the browser to a page with GET; that page then says what was done."""
    if done is not None and (session := get_visitor(request).session_id):
        get_site(request).notices[session] = done
    return RedirectResponse(quote(path, safe="/?&=#%+@:,!~*'();"), status_code=303)


def safe_path(path: str) -> str:
    """Return a path of this site to go to after a sign-in; `/today` for anything else, such as another site."""
    parts = urlsplit(path)
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return path if is_own and path.isprintable() and not path.startswith(("/login", "/logout")) else "/today"
