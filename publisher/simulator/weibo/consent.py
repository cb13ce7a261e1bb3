"""The two pages that a person meets when signing an app in."""

from pathlib import Path
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader

from publisher.simulator.call import Answer, Call
from publisher.simulator.words import words_of
from publisher.simulator.world import World

from .apps import developer_of

HTML = "text/html; charset=utf-8"
KEPT = ("client_id", "redirect_uri", "state", "response_type", "language")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Without form-action: the answer leads on to the app's page."""
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent.parent / "pages"), autoescape=True, trim_blocks=True
)


def consent_page(call: Call, world: World) -> Answer:
    """Who asks, in whose name one may answer, and the two answers."""
    accounts = [account for account in world.accounts.values() if account.platform == "weibo"]
    facts = {
        "kept": {name: call.value(name) for name in KEPT if call.value(name)},
        "accounts": accounts,
        "chosen": developer_of(world, call.value("client_id") or ""),
        "is_open": world.settings.open,
    }
    return _page("consent.html", call, facts)


def code_page(call: Call) -> Answer:
    """The platform's own page to come back to: it shows the code for a person to copy."""
    return _page("code.html", call, {"code": call.value("code"), "error": call.value("error")})


def _page(name: str, call: Call, facts: dict[str, object]) -> Answer:
    language = "en" if "en" in (call.value("language"), call.value("lang")) else "zh"
    other = {name: value for name, value in call.query.items() if name not in ("language", "lang")}
    switch = urlencode({**other, "language": "zh" if language == "en" else "en"})
    tail = "?lang=en" if language == "en" else ""
    common = {"words": words_of(language), "lang": language, "switch": switch, "tail": tail}
    html = TEMPLATES.get_template(name).render(**common, **facts)
    return Answer(html.encode(), 200, HTML, HEADERS)
