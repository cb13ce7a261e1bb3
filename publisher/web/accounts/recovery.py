"""The recovery of a platform: one button resumes the accounts that one cause has stopped."""

from collections.abc import Sequence
from datetime import datetime

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from publisher.app.open_store import check_command_access
from publisher.domain.account import AccountId
from publisher.domain.delivery import Delivery
from publisher.domain.errors import NoSuchItemError, RefusedError
from publisher.engine.recovery_orders import (
    ResendResult,
    choose_pauses,
    find_blocking,
    find_held,
    is_held_with_account,
    resend_held,
    resume_accounts,
    split_held,
)
from publisher.store.queries.queries import Pause
from publisher.web.kit.forms import ActionForm, show_action_form
from publisher.web.kit.frame import read_moment
from publisher.web.kit.page import redirect
from publisher.web.kit.recovery import (
    PlatformRecovery,
    describe_cause,
    list_operable,
)
from publisher.web.kit.seats import name_accounts
from publisher.web.kit.site import Notice, Visitor, get_site, get_visitor

MAX_NAMES = 20
"""How many accounts, or pauses that stay, are named."""


def choose_recovery(
    visitor: Visitor, request: Request, pauses: Sequence[Pause], reason: str
) -> PlatformRecovery:
    """Return the recovery that an address and a reason, or the only reason, name.

    Raises NoSuchItemError for a platform without an account that the visitor may resume, and
    RefusedError if publisher has paused none of its accounts for that reason.
    """
    accounts = list_operable(visitor)
    name = request.path_params["platform"]
    platform = next((one for one in accounts if one == name), None)
    if platform is None:
        raise NoSuchItemError("platform", name, accounts)
    choice = choose_pauses(pauses, accounts[platform], reason or None)
    if not choice.chosen:
        raise RefusedError("pause_changed")
    named = choice.chosen[0].reason
    return PlatformRecovery(platform=platform, reason=named, choice=choice)


async def find_held_with(
    visitor: Visitor, accounts: Sequence[AccountId], seen_at: datetime
) -> tuple[Sequence[Delivery], Sequence[Delivery]]:
    """Return what is held for a reason that also pauses its account, as a page has shown it.

    The second part was held only after the page was drawn.
    """
    held = await find_held(visitor.site.store, accounts)
    shown, later = list[Delivery](), list[Delivery]()
    for delivery in filter(is_held_with_account, held):
        (shown if delivery.updated_at <= seen_at else later).append(delivery)
    return shown, later


async def show_recovery(request: Request) -> Response:
    """Ask whether the accounts are to be resumed, with the number of deliveries to resend."""
    visitor = get_visitor(request)
    now = visitor.site.runtime.now()
    moment = await read_moment(visitor)
    reason = request.query_params.get("reason", "")
    recovery = choose_recovery(visitor, request, moment.facts.pauses, reason)
    recovery = recovery.seen_at(now)
    held, _later = await find_held_with(visitor, recovery.accounts, now)
    refused, others = await split_held(visitor.site.store, held)
    form = recovery_form(visitor, recovery, now, len(refused), len(others))
    return await show_action_form(request, form, moment=moment)


def recovery_form(
    visitor: Visitor,
    recovery: PlatformRecovery,
    seen_at: datetime,
    refused: int,
    others: int,
) -> ActionForm:
    t, number = visitor.messages.translate, len(recovery.accounts)
    texts = [
        describe_cause(visitor, recovery),
        t("pages_recovery_accounts", names=name_some(visitor, recovery.accounts)),
        t("pages_recovery_first"),
    ]
    if others:
        texts.append(t("pages_recovery_left", number=others))
    return ActionForm(
        verb="recover",
        path=recovery.path,
        back="/accounts",
        label=t("pages_recovery", number=number),
        title=t("pages_recovery_title", number=number),
        texts=texts,
        confirm=t("pages_recovery_confirm", number=number),
        keep=t("pages_resume_keep"),
        fields={"reason": recovery.reason, "seen_at": seen_at.isoformat()},
        ticks={"resend": t("pages_recovery_resend", number=refused)} if refused else {},
    )


def name_some(visitor: Visitor, accounts: Sequence[AccountId]) -> str:
    """Return the names of accounts, or those of the first ones with the number of the others."""
    t, names = (
        visitor.messages.translate,
        name_accounts(visitor.site.settings, visitor.messages),
    )
    shown = t("list_comma").join(map(names.name, accounts[:MAX_NAMES]))
    more = len(accounts) - MAX_NAMES
    return t("pages_recovery_more", names=shown, number=more) if more > 0 else shown


def read_seen_at(form: FormData) -> datetime:
    """Return the instant of the page that a form was drawn on.

    Raises RefusedError if the form names none.
    """
    try:
        instant = datetime.fromisoformat(str(form.get("seen_at", "")))
    except ValueError:
        raise RefusedError("pause_changed") from None
    if instant.tzinfo is None:
        raise RefusedError("pause_changed")
    return instant


async def recover(request: Request) -> Response:
    """Resume the accounts that the page has shown, and resend what was held with them if wanted.

    Raises RefusedError if none of their pauses is left.
    """
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    seen_at = read_seen_at(form)
    pauses = await site.store.queries.pauses()
    reason = str(form.get("reason", ""))
    recovery = choose_recovery(visitor, request, pauses, reason).seen_at(seen_at)
    await check_command_access(site.store, site.settings)
    resumed = await resume_accounts(
        site.store, recovery.choice, site.settings.accounts, visitor.actor
    )
    if not resumed:
        raise RefusedError("pause_changed")
    resend = ResendResult()
    if form.get("resend"):
        resend = await resend_seen(visitor, recovery, resumed, seen_at)
    operable = list_operable(visitor)[recovery.platform]
    left = await find_blocking(site.store, f"platform:{recovery.platform}", operable)
    done = report_recovery(visitor, resumed, resend, left)
    return redirect(request, "/accounts", done)


async def resend_seen(
    visitor: Visitor,
    recovery: PlatformRecovery,
    resumed: Sequence[AccountId],
    seen_at: datetime,
) -> ResendResult:
    """Resend what was held with the resumed accounts when the page was drawn."""
    shown, later = await find_held_with(visitor, resumed, seen_at)
    scope = visitor.formatter.scope(f"platform:{recovery.platform}")
    why = visitor.messages.translate("resume_resend_reason", scope=scope)
    result = await resend_held(visitor.site.store, shown, visitor.actor, why)
    result.left += later
    return result


def report_recovery(
    visitor: Visitor,
    resumed: Sequence[AccountId],
    resend: ResendResult,
    left: Sequence[Pause],
) -> Notice:
    """Return what was done. It counts as done only if no pause, and nothing held, stays."""
    facts: dict[str, object] = {"number": len(resumed), "resent": len(resend.resent)}
    if not left and not resend.left:
        code = "pages_recovered_resent" if resend.resent else "pages_recovered"
        return Notice(code=code, facts=facts)
    t = visitor.messages.translate
    stays = []
    if left:
        scopes = [visitor.formatter.scope(pause.scope) for pause in left[:MAX_NAMES]]
        names = t("list_comma").join(scopes)
        stays.append(t("pages_recovery_paused", number=len(left), names=names))
    if resend.left:
        stays.append(t("pages_recovery_left", number=len(resend.left)))
    facts["stays"] = t("sentence_break").join(stays)
    return Notice(code="pages_recovered_partly", facts=facts, is_partial=True)
