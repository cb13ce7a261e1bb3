"""One delivery: its history, its next step, and the decisions that a person can take."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from publisher.app.history import POST_EVENTS, Explanation, explain_delivery
from publisher.app.open_store import check_command_access
from publisher.config import Environment, Settings
from publisher.domain.account import Account, AccountId
from publisher.domain.addresses import is_loopback
from publisher.domain.delivery import WAITING_STATES, Delivery, State
from publisher.domain.errors import NoSuchItemError, RefusedError
from publisher.domain.glyph import Glyph
from publisher.domain.post import DeliveryId, OccurrenceKey, Post, PostId
from publisher.domain.results import REFUSED_HOLD_REASONS, HoldReason
from publisher.domain.user import Permission
from publisher.engine.decisions import (
    CONFIRM,
    RULINGS,
    Resolution,
    can_be_resolved,
    decide,
)
from publisher.engine.planner import resend_post
from publisher.engine.recovery_orders import split_held
from publisher.store.approvals.tasks import list_unapproved
from publisher.store.db.rows import ACCOUNT_PAUSED
from publisher.store.plan.posts import AuditAction
from publisher.store.queries.occurrences import StopCounts
from publisher.store.queries.progress import (
    ConfirmationRequest,
    FiledDelivery,
    PostProgress,
)
from publisher.store.queries.queries import Alert, Pause
from publisher.store.queries.snapshot import StatusSnapshot
from publisher.web.kit.forms import (
    ActionForm,
    read_number,
    read_reason,
    read_url,
    require_seen,
    seen_state,
    show_action_form,
)
from publisher.web.kit.frame import read_frame_facts
from publisher.web.kit.live_parts import NO_PARTS, Parts, item_id, stream_path
from publisher.web.kit.page import load_macro, redirect, render_page
from publisher.web.kit.seats import AccountNames, name_accounts
from publisher.web.kit.site import Notice, Visitor, get_site, get_visitor
from publisher.web.kit.todo import TodoItem, list_unseen
from publisher.web.posts.post_actions import (
    confirm_retraction,
    needs_code,
    needs_retraction,
    takes_code,
)
from publisher.web.posts.posts import (
    DeliveryLine,
    describe_delivery,
    name_related,
    read_rewritten,
)
from publisher.web.write.rewrite import read_refused


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """The data shown of one delivery. `request` waits for a second person.

    Actions are drawn from `newest`.
    """

    post: Post
    delivery: Delivery
    line: DeliveryLine
    names: AccountNames
    request: ConfirmationRequest | None
    newest: int
    filed: FiledDelivery
    pauses: Sequence[Pause]
    unapproved: Collection[OccurrenceKey]
    """The occurrences of the post that are not sent without another approval."""
    stops: StopCounts
    """The counts for taking the post down on this account, in all its occurrences."""
    is_refused: bool = False
    """True if its account was refused before anything was sent: nothing is to be looked for."""
    copy: PostId | None = None
    """The post that was written in its place after a refusal."""

    @property
    def path(self) -> str:
        return delivery_path(self.delivery)

    @property
    def version(self) -> str:
        """The data that its buttons are drawn from, as a page and its stream name it."""
        return item_id("version", seen_state(self.delivery))

    @property
    def name(self) -> str:
        return self.names.name(self.delivery.account)

    @property
    def marker(self) -> str:
        """The bulletin number."""
        return self.delivery.marker


def delivery_path(delivery: Delivery) -> str:
    return (
        f"/deliveries/{delivery.key.post}/{delivery.key.occurrence}/{delivery.account}"
    )


async def load_delivery_view(
    request: Request, *, has_texts: bool = False
) -> DeliveryView:
    """Return the delivery of the path.

    Raises NoSuchItemError, also for one outside the visitor's accounts.
    """
    params = request.path_params
    key = OccurrenceKey(post=PostId(params["post"]), occurrence=params["occurrence"])
    return await read_delivery_view(
        get_visitor(request), key, AccountId(params["account"]), has_texts=has_texts
    )


async def read_delivery_view(
    visitor: Visitor, key: OccurrenceKey, account: AccountId, *, has_texts: bool = False
) -> DeliveryView:
    """Return one delivery. Raises NoSuchItemError, also for one outside the visitor's accounts."""
    store = visitor.site.store
    filed = await store.progress.deliveries(
        key.post, key.occurrence, account, has_texts=has_texts
    )
    progress = await store.progress.post(key.post)
    if not filed or progress is None or not visitor.may(Permission.VIEW, [account]):
        raise NoSuchItemError("delivery", f"{key.post}@{account}")
    facts = await read_frame_facts(visitor.site, visitor.audit_number)
    is_asked = filed[0].delivery.state is State.PENDING and (
        store.approval_rules.is_active
    )
    tasks = await store.approvals.tasks(key.post) if is_asked else ()
    view = view_delivery(
        visitor, progress, filed[0], facts.pauses, list_unapproved(tasks)
    )
    copies = await read_rewritten(visitor, key.post, filed)
    return await mark_refused(visitor, replace(view, copy=copies.get(account)))


async def mark_refused(visitor: Visitor, view: DeliveryView) -> DeliveryView:
    """Return the view of a delivery, marked if its account was refused and nothing was sent."""
    delivery = view.delivery
    is_doubted = delivery.state is not State.HELD or view.request is not None
    if is_doubted or delivery.reason not in REFUSED_HOLD_REASONS:
        return view
    refused, _others = await split_held(visitor.site.store, [delivery])
    return replace(view, is_refused=bool(refused))


def view_delivery(
    visitor: Visitor,
    progress: PostProgress,
    filed: FiledDelivery,
    pauses: Sequence[Pause],
    unapproved: Collection[OccurrenceKey],
) -> DeliveryView:
    """Return the view of a post's delivery."""
    delivery = filed.delivery
    return DeliveryView(
        post=progress.details.post,
        delivery=delivery,
        filed=filed,
        pauses=pauses,
        unapproved=unapproved,
        line=describe_delivery(
            visitor.formatter,
            filed,
            pauses,
            is_unapproved=delivery.key in unapproved,
        ),
        names=name_accounts(visitor.site.settings, visitor.messages),
        request=filed.request,
        newest=progress.newest,
        stops=progress.count_stops(delivery.account),
    )


def place_of(settings: Settings, delivery: Delivery) -> str:
    """Return the address where a person can look at a post; empty if none is known.

    In a drill the platform has nothing at its own address: it is the account's page on this
    machine.
    """
    url = delivery.reported_url or (delivery.receipt.url if delivery.receipt else "")
    if not url or not url.startswith(("https://", "http://")):
        return ""
    account = settings.accounts.get(delivery.account)
    if account is None or is_loopback(urlsplit(url).hostname or ""):
        return url
    return find_simulated_page(settings, account) or url


def find_simulated_page(settings: Settings, account: Account) -> str:
    """Return the page of an account on the simulator in a drill; empty otherwise."""
    if settings.environment is not Environment.DRILL or account.base_url is None:
        return ""
    return f"{account.base_url}/_sim/feed/{account.platform}/{quote(account.identity)}"


async def explain(
    visitor: Visitor, view: DeliveryView, alerts: Sequence[Alert]
) -> Explanation:
    """Return the words about one delivery, as `why` gives them. `alerts` are all that are shown."""
    queries, delivery, filed = visitor.site.store.queries, view.delivery, view.filed
    history, entries = await queries.read_histories(delivery)
    snapshot = StatusSnapshot(
        now=visitor.site.runtime.now(),
        workers=await queries.workers(),
        pauses=view.pauses,
        alerts=[
            alert for alert in alerts if alert.facts.get("post") == delivery.key.post
        ],
        pause_alerts=[alert for alert in alerts if alert.code == ACCOUNT_PAUSED],
        mode_overrides=[filed.override] if filed.override else (),
        cooldowns={delivery.login: filed.cooldown} if filed.cooldown else {},
        unapproved=view.unapproved,
        configured_accounts=frozenset(visitor.site.settings.accounts),
    )
    actions = [entry for entry in entries if entry.event in POST_EVENTS]
    explanation = explain_delivery(history, actions, snapshot, visitor.formatter)
    if view.copy is None:
        return explanation
    nothing = visitor.messages.translate("pages_delivery_rewritten")
    return replace(explanation, next_steps=[nothing])


def ruling_form(visitor: Visitor, view: DeliveryView, ruling: str) -> ActionForm:
    """Ask for the input of a ruling: the address where the post was seen, or the reason."""
    t, delivery = visitor.messages.translate, view.delivery
    words = f"pages_rule_{ruling}"
    if view.is_refused and ruling == Resolution.RESEND:
        words = "pages_rule_refused"
    texts = [t(f"{words}_says", name=view.name, marker=view.marker)]
    if ruling == CONFIRM and view.request is not None:
        texts.append(
            t(
                "pages_rule_confirm_of",
                by=view.request.by,
                url=view.request.url,
                reason=view.request.reason,
            )
        )
    return ActionForm(
        verb=f"resolve-{ruling}",
        path=f"{view.path}/resolve?ruling={ruling}",
        back=view.path,
        label=t(words),
        title=t(f"{words}_title", name=view.name),
        texts=texts,
        confirm=t(words),
        keep=t("pages_rule_keep"),
        reason="required",
        asks_url=ruling == Resolution.PUBLISHED,
        url=(delivery.reported_url or "") if ruling == Resolution.PUBLISHED else "",
        style="danger" if words == "pages_rule_resend" else "main",
        fields={"ruling": ruling, "seen": seen_state(delivery)},
    )


def resend_form(visitor: Visitor, view: DeliveryView) -> ActionForm:
    t = visitor.messages.translate
    return ActionForm(
        verb="resend",
        path=f"{view.path}/resend",
        back=view.path,
        label=t("pages_resend"),
        title=t("pages_resend_title", name=view.name),
        texts=[t("pages_resend_says")],
        confirm=t("pages_resend_confirm"),
        keep=t("pages_resend_keep"),
        icon="repeat",
        reason="required",
        fields={"seen": seen_state(view.delivery)},
    )


def retract_form(visitor: Visitor, view: DeliveryView) -> ActionForm:
    t = visitor.messages.translate
    return ActionForm(
        verb="retract",
        path=f"{view.path}/retract",
        back=view.path,
        label=t("pages_retract"),
        title=t("pages_retract_one_title", name=view.name),
        texts=[
            t(
                "pages_retract_says",
                live=view.stops.published,
                doubtful=view.stops.doubtful,
            ),
            t("pages_retract_for_good"),
        ],
        confirm=t("pages_retract_confirm", number=view.stops.maybe_published),
        keep=t("pages_retract_keep"),
        icon="trash-2",
        reason="required",
        asks_code=needs_code([view.stops]) and not visitor.is_stepped_up,
        style="danger",
        fields={"newest": str(view.newest)},
    )


def list_rulings(view: DeliveryView, visitor: Visitor) -> Sequence[str]:
    """Return the rulings that can be given on a delivery now, the likeliest first."""
    if not can_be_resolved(view.delivery):
        return ()
    if view.is_refused:
        return (Resolution.RESEND, Resolution.CANCEL)
    own = view.request is not None and view.request.by == visitor.user.name
    confirm = [CONFIRM] if view.request is not None and not own else []
    return [
        *confirm,
        Resolution.PUBLISHED,
        Resolution.RESEND,
        Resolution.NOT_PUBLISHED,
        Resolution.CANCEL,
    ]


def list_forms(visitor: Visitor, view: DeliveryView) -> Sequence[ActionForm]:
    """Return the visitor's possible actions on a delivery, the likeliest first and danger last."""
    accounts, delivery = [view.delivery.account], view.delivery
    forms: list[ActionForm] = []
    if visitor.may(Permission.OPERATE, accounts):
        forms += [
            ruling_form(visitor, view, ruling) for ruling in list_rulings(view, visitor)
        ]
    if (
        delivery.can_be_resent
        and not view.copy
        and visitor.may(Permission.SEND, accounts)
    ):
        forms.append(resend_form(visitor, view))
    if (
        needs_retraction(delivery)
        and delivery.attempts
        and (delivery.state not in WAITING_STATES or delivery.parts_done)
        and not view.is_refused
        and visitor.may(Permission.RETRACT, accounts)
    ):
        forms.append(retract_form(visitor, view))
    return forms


async def list_own_unseen(visitor: Visitor, delivery: Delivery) -> Sequence[TodoItem]:
    """Return what somebody has to have seen of a delivery, on its account alone."""
    if not delivery.can_be_resent:
        return ()
    unseen = [
        one
        for one in await visitor.site.store.waiting.unseen(delivery.key.post)
        if one.account == delivery.account
        and (one.is_of_post or one.key == delivery.key)
    ]
    return [
        replace(item, fields={**item.fields, "account": delivery.account})
        for item in list_unseen(visitor, unseen)
    ]


async def show_delivery(request: Request) -> Response:
    view, visitor = (
        await load_delivery_view(request, has_texts=True),
        get_visitor(request),
    )
    visitor = request.state.visitor = await name_related(visitor, view.post)
    key, store = view.delivery.key, get_site(request).store
    page = {
        "post": key.post,
        "occurrence": key.occurrence,
        "account": view.delivery.account,
    }
    return await render_page(
        request,
        "posts/delivery",
        stream=stream_path("delivery", [view.version], **page),
        view=view,
        post=view.post,
        explanation=await explain(visitor, view, await store.queries.alerts()),
        forms=list_forms(visitor, view),
        place=place_of(get_site(request).settings, view.delivery),
        unseen=await list_own_unseen(visitor, view.delivery),
        rendered=view.filed.rendered,
        policy=store.policies.get(view.delivery.account),
        refused_at=await read_rewrite(request, view),
        may_renew=view.delivery.state is State.HELD
        and view.delivery.reason == HoldReason.AUTH
        and visitor.may_renew(view.delivery.account),
        is_task=view.line.glyph is Glyph.ACTION
        and view.delivery.manual_task is not None,
    )


async def read_rewrite(request: Request, view: DeliveryView) -> AccountId | None:
    """Return the account if its refused post may be rewritten for it, by some author."""
    account = view.delivery.account
    if view.delivery.state is not State.FAILED:
        return None
    return account if account in await read_refused(request, view.post.id) else None


async def read_live(
    visitor: Visitor, page: Mapping[str, str], posts: Collection[PostId] | None
) -> Parts:
    """Return the state and the words about a delivery.

    Its buttons stay. An action that was drawn from older data is refused.
    """
    key = OccurrenceKey(
        post=PostId(page.get("post", "")), occurrence=page.get("occurrence", "")
    )
    if posts is not None and key.post not in posts:
        return NO_PARTS
    try:
        view = await read_delivery_view(
            visitor, key, AccountId(page.get("account", ""))
        )
    except NoSuchItemError:
        return NO_PARTS
    visitor = await name_related(visitor, view.post)
    explanation = await explain(
        visitor, view, await visitor.site.store.queries.alerts()
    )
    words = load_macro(visitor, "posts/why", "why_words")(view.delivery, explanation)
    facts = load_macro(visitor, "posts/why", "delivery_facts")(view)
    return Parts(
        fixed={"delivery-facts": facts, "why-words": words}, wanted=[view.version]
    )


async def show_resolve(request: Request) -> Response:
    view, visitor = await load_delivery_view(request), get_visitor(request)
    visitor.require(Permission.OPERATE, [view.delivery.account])
    ruling = request.query_params.get("ruling", "")
    if ruling not in list_rulings(view, visitor):
        raise RefusedError("nothing_to_resolve", state=view.delivery.state.value)
    return await show_action_form(request, ruling_form(visitor, view, ruling))


async def resolve(request: Request) -> Response:
    """Carry out a ruling, on the state that its form has shown. Raises RefusedError."""
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    view = await load_delivery_view(request)
    visitor.require(Permission.OPERATE, [view.delivery.account])
    ruling, reason, url = str(form.get("ruling", "")), read_reason(form), read_url(form)
    if ruling not in RULINGS:
        raise RefusedError("web_bad_request")
    require_seen(view.delivery, form)
    if not reason or (ruling == Resolution.PUBLISHED and not url):
        t = visitor.messages.translate
        problem = "" if reason else t("pages_reason_needed")
        url_problem = (
            "" if url or ruling != Resolution.PUBLISHED else t("pages_url_needed")
        )
        asked = ruling_form(visitor, view, ruling)
        return await show_action_form(
            request, asked, 422, problem=problem, url_problem=url_problem, url=url
        )
    if (
        ruling != Resolution.CANCEL
    ):  # which can lead to no post, whatever the database has lost
        await check_command_access(site.store, site.settings)
    decision = await decide(
        site.store,
        view.delivery,
        ruling,
        by=visitor.actor,
        reason=reason,
        url=url if ruling == Resolution.PUBLISHED else None,
        version=view.delivery.version,
    )
    is_first = ruling == Resolution.PUBLISHED
    code = "pages_ruled_first" if is_first else f"pages_ruled_{decision.delivery.state}"
    code = visitor.messages.first_known(code, "pages_ruled")
    return redirect(request, view.path, Notice(code=code, facts={"name": view.name}))


async def show_resend(request: Request) -> Response:
    view, visitor = await load_delivery_view(request), get_visitor(request)
    visitor.require(Permission.SEND, [view.delivery.account])
    require_resendable(view.delivery)
    return await show_action_form(request, resend_form(visitor, view))


def require_resendable(delivery: Delivery) -> None:
    """Raise RefusedError unless a delivery has ended without a post that is published."""
    if not delivery.can_be_resent:
        subject = f"{delivery.key.post}@{delivery.account}"
        raise RefusedError(
            "changed_meanwhile", subject=subject, state=delivery.state.value
        )


async def resend(request: Request) -> Response:
    """Send once more after an end without a published post. Raises RefusedError, ScheduleError."""
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    view, reason = await load_delivery_view(request), read_reason(form)
    account = view.delivery.account
    visitor.require(Permission.SEND, [account])
    require_seen(view.delivery, form)
    require_resendable(view.delivery)
    if not reason:
        problem = visitor.messages.translate("pages_reason_needed")
        return await show_action_form(
            request, resend_form(visitor, view), 422, problem=problem
        )
    if account not in site.application.planner.post_renderer.accounts:
        raise NoSuchItemError("account", account)
    await check_command_access(site.store, site.settings)
    subject = visitor.formatter.subject(view.delivery)
    action = AuditAction(
        event="resend_requested",
        subject=subject,
        by=visitor.actor,
        detail={"reason": reason},
    )
    await resend_post(site.application.planner, view.post, [account], [action])
    return redirect(
        request,
        f"/posts/{view.post.id}",
        Notice(code="pages_resent", facts={"name": view.name}),
    )


async def show_retract(request: Request) -> Response:
    view, visitor = await load_delivery_view(request), get_visitor(request)
    visitor.require(Permission.RETRACT, [view.delivery.account])
    return await show_action_form(request, retract_form(visitor, view))


async def retract(request: Request) -> Response:
    """Order that a post is taken down on one account."""
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    view, reason = await load_delivery_view(request), read_reason(form)
    account, newest = view.delivery.account, read_number(form, "newest")
    visitor.require(Permission.RETRACT, [account])
    if not reason:
        problem = visitor.messages.translate("pages_reason_needed")
        return await show_action_form(
            request, retract_form(visitor, view), 422, problem=problem
        )
    async with site.retractions:
        if await takes_code(visitor, [view.stops]) and (
            problem := await confirm_retraction(request, view.post.id, [account])
        ):
            asked = retract_form(get_visitor(request), view)
            return await show_action_form(
                request, asked, 422, code_problem=problem, reason=reason
            )
        visitor = get_visitor(request)
        ordered = await site.store.actions.retract(
            view.post.id, account, visitor.actor, reason, DeliveryId(newest)
        )
    return redirect(
        request,
        view.path,
        Notice(code="pages_retracting", facts={"number": len(ordered)}),
    )
