"""Confirmation forms: the consequences in numbers, a reason, and the one button."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from publisher.app.format import quote_typed_reason
from publisher.domain.account import Account, AccountId, Capabilities
from publisher.domain.characters import remove_forbidden_characters
from publisher.domain.delivery import Delivery
from publisher.domain.errors import NoSuchItemError, RefusedError
from publisher.domain.post import RenderedPost
from publisher.domain.user import Permission
from publisher.i18n import Messages
from publisher.web.kit.frame import Moment
from publisher.web.kit.live_parts import item_id
from publisher.web.kit.page import render_page
from publisher.web.kit.site import get_site, get_visitor

MAX_REASON_CHARACTERS = 200
MAX_ID_DIGITS = 9
"""Numbers of rows have 31 bits in PostgreSQL."""
MAX_URL_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemText:
    """A platform's text of an act: of its first account, for so many accounts and variants."""

    rendered: RenderedPost
    capabilities: Capabilities
    accounts: int
    variants: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionItem:
    """A post or an account of an act on several, with the data that it was drawn from.

    `texts` are what the act is about. One with `is_ticked` can be left out.
    """

    value: str
    title: str
    path: str
    facts: str
    texts: Sequence[ItemText] = ()
    is_ticked: bool = False
    problem: str = ""
    """What speaks against the act on it, if anything does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionForm:
    """One action of a page: a button that opens a dialog, or without script a page with its form.

    `verb` names it in test ids. `fields` carry the data that it was drawn from. If that data has
    changed, nothing is done.
    """

    verb: str
    path: str
    back: str
    label: str
    title: str
    texts: Sequence[str] = ()
    confirm: str
    keep: str
    icon: str = ""
    reason: Literal["required", "optional", ""] = ""
    asks_url: bool = False
    url: str = ""
    asks_code: bool = False
    """True if it takes a code of the second factor."""
    offers: Sequence[tuple[str, str]] = ()
    """The path and the label of what may be better to do first."""
    style: Literal["main", "danger", ""] = "main"
    fields: Mapping[str, str] = field(default_factory=dict)
    ticks: Mapping[str, str] = field(default_factory=dict)
    """The labels of boxes to tick, by the names of their fields."""
    items: Sequence[ActionItem] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    """The labels of the rulings to choose from, by value."""
    left_out: Sequence[str] = ()
    """What was ticked and is not part of it, each with the reason."""
    counted: str = ""
    """The button's label with the number of ticked items as {number}."""

    @property
    def dialog(self) -> str:
        """The id of its dialog."""
        return item_id("dialog", self.verb)


async def show_action_form(  # noqa: PLR0913 # what was typed, and what is wrong with it
    request: Request,
    form: ActionForm,
    status: int = 200,
    *,
    problem: str = "",
    url_problem: str = "",
    url: str = "",
    code_problem: str = "",
    reason: str = "",
    moment: Moment | None = None,
) -> Response:
    """Show the form of an action as a page of its own."""
    return await render_page(
        request,
        "action",
        status=status,
        moment=moment,
        form=form,
        problem=problem,
        url_problem=url_problem,
        url=url,
        code_problem=code_problem,
        reason=reason,
    )


def name_field(messages: Messages, field: str) -> str:
    """Return the label of a field of a post; of a template's own field without one its name."""
    kind, _, name = field.partition(".")
    if kind == "text":
        return messages.platform_short_name(name)
    code = f"web_write_data_{name}" if kind == "data" else f"web_write_{field}"
    return messages.translate(code) if code in messages.entries else name or field


def read_reason(form: FormData) -> str:
    """Return the typed reason on one line. A reason that looks like a code is quoted."""
    typed = str(form.get("reason", ""))[: 2 * MAX_REASON_CHARACTERS]
    words = remove_forbidden_characters(" ".join(typed.split()))
    return quote_typed_reason(words[:MAX_REASON_CHARACTERS])


def read_url(form: FormData) -> str:
    """Return the address that was typed; empty for anything but one of the web."""
    text = str(form.get("url", "")).strip()[:MAX_URL_CHARACTERS]
    return (
        text
        if text.startswith(("https://", "http://"))
        and text.isprintable()
        and " " not in text
        else ""
    )


def read_number(form: FormData, name: str) -> int:
    """Return a number of a form, as `parse_number` does."""
    return parse_number(str(form.get(name, "")))


def parse_number(text: str) -> int:
    """Return the number of a row; -1, which no row has, for anything else."""
    is_number = text.isdecimal() and text.isascii() and len(text) <= MAX_ID_DIGITS
    return int(text) if is_number else -1


def read_paused_at(form: FormData) -> datetime:
    """Return the start of the pause that a form was drawn from.

    Raises RefusedError if the form names none.
    """
    try:
        return datetime.fromisoformat(str(form.get("paused_at", "")))
    except ValueError:
        raise RefusedError("pause_changed") from None


def seen_state(delivery: Delivery) -> str:
    """Return the state of a delivery that a person has seen, for forms.

    Readings that change nothing leave it as it is.
    """
    reason = delivery.reason or ""
    return (
        f"{delivery.state} {delivery.attempts} {delivery.parts_done} {reason}".strip()
    )


def require_seen(delivery: Delivery, form: FormData) -> None:
    """Raise RefusedError if a delivery is not as its form was drawn any more."""
    if str(form.get("seen", "")) != seen_state(delivery):
        subject = f"{delivery.key.post}@{delivery.account}"
        raise RefusedError(
            "changed_meanwhile", subject=subject, state=delivery.state.value
        )


def find_account(request: Request, permission: Permission) -> Account:
    """Return the account of an action.

    Raises NoSuchItemError, also for one outside the visitor's reach, and SignInError.
    """
    name, visitor = AccountId(request.path_params["account"]), get_visitor(request)
    accounts = get_site(request).settings.accounts
    if name not in accounts or not visitor.may(Permission.VIEW, [name]):
        raise NoSuchItemError("account", name, accounts)
    visitor.require(permission, [name])
    return accounts[name]
