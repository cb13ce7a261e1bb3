"""The two pages that a person sees when authorizing an app."""

from pathlib import Path
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader

from publisher.simulator.page_texts import get_page_texts
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .apps import find_developer

HTML_CONTENT_TYPE = "text/html; charset=utf-8"
KEPT_PARAMETERS = ("client_id", "redirect_uri", "state", "response_type", "language")
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Without form-action: submitting the form redirects to the app's page."""
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent.parent / "pages"), autoescape=True, trim_blocks=True
)


def render_consent_page(request: ApiRequest, state: SimulatorState) -> ApiResponse:
    """Show the app that asks, the accounts to choose from, and the two buttons."""
    accounts = [account for account in state.accounts.values() if account.platform == "weibo"]
    facts = {
        "kept": {name: request.get_parameter(name) for name in KEPT_PARAMETERS if request.get_parameter(name)},
        "accounts": accounts,
        "chosen": find_developer(state, request.get_parameter("client_id") or ""),
        "is_open": state.behaviour.open,
    }
    return _render("consent.html", request, facts)


def render_code_page(request: ApiRequest) -> ApiResponse:
    """Serve the platform's own redirect page, which shows the code for a person to copy."""
    return _render(
        "code.html", request, {"code": request.get_parameter("code"), "error": request.get_parameter("error")}
    )


def _render(name: str, request: ApiRequest, facts: dict[str, object]) -> ApiResponse:
    language = "en" if "en" in (request.get_parameter("language"), request.get_parameter("lang")) else "zh"
    other = {name: value for name, value in request.query.items() if name not in ("language", "lang")}
    switch = urlencode({**other, "language": "zh" if language == "en" else "en"})
    tail = "?lang=en" if language == "en" else ""
    common = {"words": get_page_texts(language), "lang": language, "switch": switch, "tail": tail}
    html = TEMPLATES.get_template(name).render(**common, **facts)
    return ApiResponse(html.encode(), 200, HTML_CONTENT_TYPE, SECURITY_HEADERS)
