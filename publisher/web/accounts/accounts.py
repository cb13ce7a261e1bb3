"""The accounts: the ones that need a person, the state of each region, and each account's facts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from publisher.app.adapters import find_api_blocker
from publisher.app.open_store import check_command_access
from publisher.domain.account import AccountId, Mode, Platform
from publisher.domain.delivery import Role
from publisher.domain.errors import NoSuchItemError, RefusedError
from publisher.domain.evergreen import choose_evergreen
from publisher.domain.post import Post, PostId
from publisher.domain.results import CredentialExpired
from publisher.domain.user import Permission
from publisher.engine.planner import schedule_evergreen
from publisher.store.queries.occurrences import (
    OccurrenceFilter,
)
from publisher.web.accounts.account_lines import (
    MAX_DAYS_SHOWN,
    AccountLine,
    AccountStatus,
    read_lines,
)
from publisher.web.accounts.sign_in_links import view_sign_in
from publisher.web.kit.forms import (
    ActionForm,
    find_account,
    read_paused_at,
    read_reason,
    show_action_form,
)
from publisher.web.kit.frame import Moment, read_frame_facts, read_moment
from publisher.web.kit.live_parts import (
    NO_PARTS,
    Parts,
    item_id,
    stream_path,
    unlisted_id,
)
from publisher.web.kit.page import load_macro, redirect, render_page
from publisher.web.kit.pinyin import contains, read_letters
from publisher.web.kit.recovery import describe_cause, find_recoveries
from publisher.web.kit.seats import AccountNames, name_accounts
from publisher.web.kit.site import Notice, Visitor, get_site, get_visitor

SETTINGS_MODE = "settings"
MAX_ROWS_OF_ONE_COLUMN = 12
MAX_CARDS = 6
"""How many accounts in need stand above the board; the others are folded."""
MAX_TEXT_CHARACTERS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRow:
    """A region with its account on each platform."""

    key: str
    name: str
    lines: Mapping[Platform, Sequence[AccountLine]]

    def cell(self, platform: Platform) -> str:
        """Return the id of the cell of a platform."""
        return item_id("cell", self.key, platform)

    def worst(self, platform: Platform) -> AccountStatus:
        """Return the worst status of its accounts on a platform."""
        return min(
            (line.status for line in self.lines.get(platform, ())),
            key=list(AccountStatus).index,
            default=AccountStatus.FINE,
        )


def group_regions(
    lines: Sequence[AccountLine],
    names: AccountNames,
    regions: Mapping[str, Mapping[str, str]],
) -> Sequence[RegionRow]:
    """Return the regions in the order of the settings; an account without one has its own row."""
    rows: dict[str, dict[Platform, list[AccountLine]]] = {}
    labels: dict[str, str] = {}
    for line in sorted(lines, key=lambda item: names.order(item.account.id)):
        key = line.account.region or line.account.id
        labels[key] = regions.get(key, {}).get("name") or key
        rows.setdefault(key, {}).setdefault(line.account.platform, []).append(line)
    return [
        RegionRow(key=key, name=labels[key], lines=found) for key, found in rows.items()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBoard:
    """All accounts that a visitor may see.

    Of them the `shown` ones are of the chosen platform and status, with the `text` in their name.
    """

    lines: Sequence[AccountLine]
    names: AccountNames
    regions_of_settings: Mapping[str, Mapping[str, str]]
    platform: Platform | None
    status: AccountStatus | None
    text: str = ""

    @property
    def all_platforms(self) -> Sequence[Platform]:
        return list(dict.fromkeys(line.account.platform for line in self.lines))

    @property
    def platforms(self) -> Sequence[Platform]:
        return [self.platform] if self.platform else self.all_platforms

    @property
    def regions(self) -> int:
        return len({line.account.region for line in self.lines if line.account.region})

    @property
    def needing(self) -> Sequence[AccountLine]:
        """The accounts that need somebody, the worst first."""
        found = [
            line
            for line in self.lines
            if line.status in {AccountStatus.ACTION, AccountStatus.WARN}
        ]
        return sorted(found, key=lambda line: list(AccountStatus).index(line.status))

    @property
    def shown(self) -> Sequence[AccountLine]:
        """The lines of the list, the worst first."""
        found = [
            line
            for line in self.lines
            if self.platform in {None, line.account.platform}
            and self.status in {None, line.status}
            and is_named(self.names.name(line.account.id), self.text)
        ]
        return sorted(
            found,
            key=lambda line: (
                list(AccountStatus).index(line.status),
                self.names.order(line.account.id),
            ),
        )

    @property
    def rows(self) -> Sequence[RegionRow]:
        return group_regions(self.shown, self.names, self.regions_of_settings)

    @property
    def halves(self) -> Sequence[Sequence[RegionRow]]:
        """The rows, in two columns if they are many."""
        rows = self.rows
        half = -(-len(rows) // 2)
        return (
            [rows[:half], rows[half:]] if len(rows) > MAX_ROWS_OF_ONE_COLUMN else [rows]
        )


async def read_account_board(
    visitor: Visitor, query: Mapping[str, str], moment: Moment | None = None
) -> AccountBoard:
    """Return the accounts, filtered by a query, at a moment if that was read."""
    settings = visitor.site.settings
    lines = await read_lines(visitor, moment or await read_moment(visitor))
    platforms = {line.account.platform for line in lines}
    return AccountBoard(
        lines=lines,
        names=name_accounts(settings, visitor.messages),
        regions_of_settings=settings.regions,
        platform=next(
            (platform for platform in platforms if platform == query.get("platform")),
            None,
        ),
        status=next(
            (status for status in AccountStatus if status == query.get("status")), None
        ),
        text=query.get("q", "").strip()[:MAX_TEXT_CHARACTERS],
    )


def is_named(name: str, typed: str) -> bool:
    """Return True if a typed text is a part of a name, or spells one in pinyin."""
    letters = read_letters(typed)
    return typed.casefold() in name.casefold() or bool(
        letters and contains(name, letters)
    )


async def show_accounts(request: Request) -> Response:
    """Show the accounts in need of a person, then each region in its place, or a list to filter."""
    moment = await read_moment(get_visitor(request))
    board = await read_account_board(get_visitor(request), request.query_params, moment)
    is_list = request.query_params.get("view") == "list"
    cells = [row.cell(platform) for row in board.rows for platform in board.platforms]
    items = [
        *(
            unlisted_id(line.card) if board.text else line.card
            for line in board.needing
        ),
        *([line.row for line in board.shown] if is_list else cells),
    ]
    return await render_page(
        request,
        "accounts/accounts",
        moment=moment,
        stream=stream_path(
            "accounts",
            items,
            platform=board.platform or "",
            status=board.status or "",
        ),
        view="list" if is_list else "regions",
        board=board,
        names=board.names,
        recoveries=find_recoveries(get_visitor(request), moment.facts.pauses),
        describe_cause=partial(describe_cause, get_visitor(request)),
        second_form=partial(find_second_form, get_visitor(request), board.names),
        statuses=list(AccountStatus),
        max_days=MAX_DAYS_SHOWN,
        max_cards=MAX_CARDS,
    )


async def read_live(
    visitor: Visitor, page: Mapping[str, str], posts: Collection[PostId] | None
) -> Parts:
    """Return the sentence, the cells and the rows.

    Changes by single posts there are read with the next refresh.
    """
    if posts is not None:
        return NO_PARTS
    board = await read_account_board(visitor, page)
    make_cell, make_row = (
        load_macro(visitor, "accounts/parts", name)
        for name in ("account_cell", "account_row")
    )
    # a region in which no account is of the chosen status any more stays
    shown = {row.key: row for row in board.rows}
    cells = {
        row.cell(platform): make_cell(
            shown.get(row.key, row), platform, board.names, MAX_DAYS_SHOWN
        )
        for row in group_regions(board.lines, board.names, board.regions_of_settings)
        for platform in board.platforms
    }
    rows = {line.row: make_row(line, board.names) for line in board.lines}
    sentence = load_macro(visitor, "accounts/parts", "accounts_sentence")(board)
    return Parts(fixed={"verdict": sentence}, items=cells | rows)


async def read_live_cards(
    visitor: Visitor, page: Mapping[str, str], _posts: Collection[PostId] | None
) -> Parts:
    """Return the cards of the accounts that need a person, each with the visitor's actions."""
    site = visitor.site
    number = (await read_frame_facts(site)).audit_number
    key = (
        "accounts",
        visitor.reach(Permission.VIEW),
        visitor.lang,
        tuple(page.items()),
        number,
        site.beat,
    )
    board = await site.caches.live.get(key, partial(read_account_board, visitor, page))
    make_card = load_macro(visitor, "accounts/parts", "account_card")
    second_form = partial(find_second_form, visitor, board.names)
    cards = {
        line.card: make_card(line, board.names, second_form(line))
        for line in board.needing
    }
    return Parts(items=cards, wanted=cards)


def find_second_form(
    visitor: Visitor, names: AccountNames, line: AccountLine
) -> ActionForm | None:
    """Return the form that helps an account in need, besides the steps on its page.

    None if nothing helps at once.
    """
    account, pause, name = line.account, line.pause, names.name(line.account.id)
    may_operate = visitor.may(Permission.OPERATE, [account.id])
    if line.is_refused or (pause is not None and pause.by in frozenset(Role)):
        return (
            mode_form(visitor, line, name, Mode.ASSISTED)
            if may_operate and line.mode is Mode.API
            else None
        )
    if pause is not None:
        is_own = pause.scope == f"account:{account.id}"
        return resume_form(visitor, line, name) if is_own and may_operate else None
    if (
        line.foreign
        and account.is_exclusive
        and visitor.may(Permission.STOP, [account.id])
    ):
        return pause_form(visitor, line, name)
    return None


async def load_line(request: Request, moment: Moment | None = None) -> AccountLine:
    """Return the account of the path, at a moment if that was read.

    Raises NoSuchItemError, also for one outside the visitor's reach.
    """
    account, visitor = AccountId(request.path_params["account"]), get_visitor(request)
    for line in await read_lines(
        visitor, moment or await read_moment(visitor), account
    ):
        return line
    raise NoSuchItemError("account", account, get_site(request).settings.accounts)


async def open_line(
    request: Request, permission: Permission
) -> tuple[Moment, AccountLine]:
    """Return the account of a form, with its moment. Raises SignInError without the permission."""
    moment = await read_moment(get_visitor(request))
    line = await load_line(request, moment)
    get_visitor(request).require(permission, [line.account.id])
    return moment, line


def pause_form(visitor: Visitor, line: AccountLine, name: str) -> ActionForm:
    t, path = visitor.messages.translate, f"/accounts/{line.account.id}"
    return ActionForm(
        verb="pause-account",
        path=f"{path}/pause",
        back=path,
        label=t("pages_pause_account"),
        title=t("pages_pause_account_title", name=name),
        texts=[t("pages_pause_account_says", number=line.counts.is_open)],
        confirm=t("pages_pause_account"),
        keep=t("pages_pause_keep"),
        icon="circle-pause",
        reason="optional",
    )


def resume_form(visitor: Visitor, line: AccountLine, name: str) -> ActionForm:
    """Ask whether an account is to publish again, with the consequences."""
    t, path = visitor.messages.translate, f"/accounts/{line.account.id}"
    held = line.handed_over
    return ActionForm(
        verb="resume-account",
        path=f"{path}/resume",
        back=path,
        label=t("pages_resume_account"),
        title=t("pages_resume_account_title", name=name),
        texts=[
            *(
                [visitor.formatter.pause("pages_paused", line.pause)]
                if line.pause
                else []
            ),
            t("pages_resume_account_says", number=line.counts.is_open - held)
            if line.counts.is_open > held
            else t("pages_resume_account_nothing"),
            *([t("pages_resume_account_held", number=held)] if held else []),
        ],
        confirm=t("pages_resume_account"),
        keep=t("pages_resume_keep"),
        fields={"paused_at": line.pause.at.isoformat() if line.pause else ""},
    )


def mode_form(visitor: Visitor, line: AccountLine, name: str, mode: str) -> ActionForm:
    """Ask whether an account is to publish in another way from now on."""
    t, path = visitor.messages.translate, f"/accounts/{line.account.id}"
    return ActionForm(
        verb=f"mode-{mode}",
        path=f"{path}/mode?mode={mode}",
        back=path,
        label=t(f"pages_mode_{mode}"),
        title=t(f"pages_mode_{mode}_title", name=name),
        texts=[t(f"pages_mode_{mode}_says")],
        confirm=t(f"pages_mode_{mode}"),
        keep=t("pages_mode_keep"),
        reason="required",
        fields={"mode": mode, "seen": line.mode.value},
    )


def evergreen_form(request: Request, line: AccountLine, post: Post) -> ActionForm:
    """Ask whether an evergreen post is to be published on an account now."""
    visitor, site = get_visitor(request), get_site(request)
    t, path = visitor.messages.translate, f"/accounts/{line.account.id}"
    needs_approval = bool(site.store.approval_rules.chain_for(post.kind))
    return ActionForm(
        verb="evergreen",
        path=f"{path}/evergreen",
        back=path,
        label=t("pages_evergreen"),
        title=t(
            "pages_evergreen_title",
            name=name_of(request, line.account.id),
            title=post.title,
        ),
        texts=[
            t("pages_evergreen_approval" if needs_approval else "pages_evergreen_says")
        ],
        confirm=t("pages_evergreen_confirm"),
        keep=t("pages_evergreen_keep"),
        fields={"post": post.id},
    )


async def suggest_evergreen(request: Request, line: AccountLine) -> Post | None:
    """Return the next evergreen post of the account; None while one is under way there."""
    site, account = get_site(request), line.account.id
    drawer = await site.store.queries.evergreen_posts()
    if line.mode is Mode.OFF or any(item.is_open_on(account) for item in drawer):
        return None
    return choose_evergreen(drawer, account, site.runtime.now())


def list_forms(visitor: Visitor, line: AccountLine, name: str) -> Sequence[ActionForm]:
    """Return the visitor's possible actions on an account now, the likeliest first."""
    account, forms = line.account, list[ActionForm]()
    own_pause = line.pause is not None and line.pause.scope == f"account:{account.id}"
    if own_pause and visitor.may(Permission.OPERATE, [account.id]):
        forms.append(resume_form(visitor, line, name))
    elif line.pause is None and visitor.may(Permission.STOP, [account.id]):
        forms.append(pause_form(visitor, line, name))
    if visitor.may(Permission.OPERATE, [account.id]) and account.mode is not Mode.OFF:
        if line.override is not None:
            forms.append(mode_form(visitor, line, name, SETTINGS_MODE))
        forms += [
            mode_form(visitor, line, name, mode)
            for mode in (Mode.ASSISTED, Mode.API, Mode.OFF)
            if mode is not line.mode
        ]
    return forms


async def show_account(request: Request) -> Response:
    """Show one account: sign-in, quota, silence, mode, its posts, and posts from elsewhere."""
    site, visitor = get_site(request), get_visitor(request)
    moment = await read_moment(visitor)
    line = await load_line(request, moment)
    account = line.account
    name = name_of(request, line.account.id)
    evergreen = (
        await suggest_evergreen(request, line)
        if visitor.may(Permission.SEND, [account.id])
        else None
    )
    return await render_page(
        request,
        "accounts/account",
        moment=moment,
        line=line,
        name=name,
        health=line.login,
        policy=site.store.policies[account.id],
        override=line.override,
        may_probe=line.mode is Mode.API
        and visitor.may(Permission.OPERATE, [account.id]),
        may_offboard=visitor.may(Permission.CREDENTIALS, [account.id]),
        is_leaving=await is_leaving(request, account.id),
        sign_in=await view_sign_in(visitor, account, is_needed=needs_sign_in(line)),
        stream=stream_path("account", account=account.id),
        forms=[
            *([evergreen_form(request, line, evergreen)] if evergreen else []),
            *list_forms(visitor, line, name),
        ],
        posts=await site.store.occurrences.find(
            OccurrenceFilter(accounts=[account.id])
        ),
        foreign=line.recent,
    )


def needs_sign_in(line: AccountLine) -> bool:
    """Return True if the sign-in of an account is refused, or ends within days."""
    is_short = line.days_left is not None and line.days_left <= MAX_DAYS_SHOWN
    is_paused_for_it = line.pause is not None and line.pause.is_renewable
    return line.mode is Mode.API and (
        is_short or is_paused_for_it or isinstance(line.login.health, CredentialExpired)
    )


async def is_leaving(request: Request, account: AccountId) -> bool:
    """Return True if an account is on its way out, and something is left to do."""
    history = await get_site(request).store.queries.audit_history(f"account:{account}")
    steps = [
        entry.event
        for entry in history
        if entry.event in {"offboarding_requested", "offboarded"}
    ]
    return steps[-1:] == ["offboarding_requested"]


async def show_pause(request: Request) -> Response:
    moment, line = await open_line(request, Permission.STOP)
    return await show_action_form(
        request,
        pause_form(get_visitor(request), line, name_of(request, line.account.id)),
        moment=moment,
    )


def name_of(request: Request, account: AccountId) -> str:
    return name_accounts(
        get_site(request).settings, get_visitor(request).messages
    ).name(account)


async def pause(request: Request) -> Response:
    account, visitor = find_account(request, Permission.STOP).id, get_visitor(request)
    reason = read_reason(await request.form())
    at = await get_site(request).store.actions.pause(
        f"account:{account}", visitor.actor, reason
    )
    undo = (
        f"/accounts/{account}/resume"
        if visitor.may(Permission.OPERATE, [account])
        else ""
    )
    facts, undo_fields = (
        {"name": name_of(request, account)},
        {"paused_at": at.isoformat()},
    )
    done = Notice(
        code="pages_account_now_paused", facts=facts, undo=undo, undo_fields=undo_fields
    )
    return redirect(request, f"/accounts/{account}", done)


async def show_resume(request: Request) -> Response:
    moment, line = await open_line(request, Permission.OPERATE)
    return await show_action_form(
        request,
        resume_form(get_visitor(request), line, name_of(request, line.account.id)),
        moment=moment,
    )


async def resume(request: Request) -> Response:
    """Lift the pause of an account, and let its login be checked soon.

    Raises RefusedError if the pause has changed.
    """
    site, account = get_site(request), find_account(request, Permission.OPERATE)
    paused_at, actor = read_paused_at(await request.form()), get_visitor(request).actor
    await check_command_access(site.store, site.settings)
    await site.store.actions.resume(f"account:{account.id}", actor, paused_at)
    await site.store.login_health.request_probe(account)
    done = Notice(
        code="pages_account_resumed", facts={"name": name_of(request, account.id)}
    )
    return redirect(request, f"/accounts/{account.id}", done)


async def probe(request: Request) -> Response:
    """Let the login of an account be checked at the next occasion.

    Raises RefusedError if nothing is sent by API.
    """
    account, health = (
        find_account(request, Permission.OPERATE),
        get_site(request).store.login_health,
    )
    if (await health.read_modes())[account.id] is not Mode.API:
        raise RefusedError("pages_probe_not_api")
    await health.request_probe(account, get_visitor(request).actor)
    done = Notice(
        code="pages_probe_ordered", facts={"name": name_of(request, account.id)}
    )
    return redirect(request, f"/accounts/{account.id}", done)


async def show_mode(request: Request) -> Response:
    moment, line = await open_line(request, Permission.OPERATE)
    mode = next(
        (
            mode
            for mode in (*Mode, SETTINGS_MODE)
            if mode == request.query_params.get("mode")
        ),
        SETTINGS_MODE,
    )
    return await show_action_form(
        request,
        mode_form(get_visitor(request), line, name_of(request, line.account.id), mode),
        moment=moment,
    )


async def set_mode(request: Request) -> Response:
    """Set how an account publishes from now on.

    Raises RefusedError if settings or adapter do not allow it.
    """
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    account, reason = find_account(request, Permission.OPERATE), read_reason(form)
    mode, text = (
        (await site.store.login_health.read_modes())[account.id],
        str(form.get("mode", "")),
    )
    if text not in {*Mode, SETTINGS_MODE}:
        raise RefusedError("web_bad_request")
    if str(form.get("seen", "")) != mode.value:
        raise RefusedError("pages_mode_changed")
    if not reason:
        moment, line = await open_line(request, Permission.OPERATE)
        asked = mode_form(visitor, line, name_of(request, account.id), text)
        problem = visitor.messages.translate("pages_reason_needed")
        return await show_action_form(
            request, asked, 422, problem=problem, moment=moment
        )
    wanted = None if text == SETTINGS_MODE else Mode(text)
    if account.mode is Mode.OFF and wanted is not None:
        raise RefusedError("mode_off_in_settings", account=account.id)
    if wanted is Mode.API and (blocker := find_api_blocker(account)):
        raise RefusedError(
            "mode_not_api",
            account=account.id,
            reason=visitor.messages.describe(blocker),
        )
    if wanted is not Mode.OFF:
        await check_command_access(site.store, site.settings)
    await site.store.actions.set_mode(account.id, wanted, visitor.actor, reason)
    facts = {
        "name": name_of(request, account.id),
        "mode": visitor.messages.translate(f"mode_{wanted or account.mode}"),
    }
    return redirect(
        request, f"/accounts/{account.id}", Notice(code="pages_mode_set", facts=facts)
    )


async def show_evergreen(request: Request) -> Response:
    moment, line = await open_line(request, Permission.SEND)
    post = await suggest_evergreen(request, line)
    if post is None:
        raise RefusedError("evergreen_used_up", account=line.account.id)
    return await show_action_form(
        request, evergreen_form(request, line, post), moment=moment
    )


async def schedule_post(request: Request) -> Response:
    """Schedule the evergreen post that the page has shown.

    Raises RefusedError if another one is next by now.
    """
    site, visitor, form = get_site(request), get_visitor(request), await request.form()
    line = await load_line(request)
    account = line.account.id
    visitor.require(Permission.SEND, [account])
    post = await suggest_evergreen(request, line)
    if post is None or post.id != form.get("post"):
        raise RefusedError("pages_evergreen_changed")
    await check_command_access(site.store, site.settings)
    await schedule_evergreen(site.application.planner, account, visitor.actor)
    facts = {"title": post.title, "name": name_of(request, line.account.id)}
    return redirect(
        request,
        f"/accounts/{account}",
        Notice(code="pages_evergreen_done", facts=facts),
    )
