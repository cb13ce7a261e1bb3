"""`user`: people, their roles and their tokens."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import click

from publisher.app.format import Formatter
from publisher.cli.authentication import (
    ActingPerson,
    identify,
    own_source,
    require_permission,
    workspace_user_key,
)
from publisher.cli.context import (
    has_database,
    load_workspace_settings,
    open_command_store,
)
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import (
    LocalizedUsageError,
    choice,
    command,
    int_range,
    json_option,
    person_name,
)
from publisher.cli.terminal import Terminal, echo, hidden_input
from publisher.config import Environment, Settings
from publisher.domain.delivery import Actor
from publisher.domain.user import (
    PERSONAL_PERMISSIONS,
    Grant,
    GrantSyntaxError,
    Permission,
    SignInFactor,
    User,
    UserChange,
    UserChangeKind,
    find_unknown_targets,
    parse_grant,
)
from publisher.engine.authentication import (
    activate_user,
    change_password,
    list_agency_words,
    make_second_factor,
    read_link,
)
from publisher.engine.decisions import named_person
from publisher.engine.departure import read_touched
from publisher.store.people.user_changes import ChangedUser, UserRequest
from publisher.store.people.users import LINK_METHOD
from publisher.store.store import Store

ACTIONS = (
    "add", "change", "list", "disable", "enable", "reset", "leave", "token", "password", "activate",
    "requests", "confirm", "decline",
)  # fmt: skip
WITH_ROLES = frozenset({"add", "change"})
READ_ACTIONS = frozenset({"list", "requests"})
CHANGES = frozenset(kind.value for kind in UserChangeKind)
WITHOUT_NAME = frozenset({"list", "activate", "requests"})


def grant(value: str) -> Grant:
    """Parse a role with its stages and targets."""
    try:
        return parse_grant(value)
    except GrantSyntaxError as error:
        raise LocalizedUsageError(error.code, value=error.value) from None


@command("user")
@click.argument("action", metavar="|".join(ACTIONS), type=choice(*ACTIONS))
@click.argument("name", metavar="[NAME]", required=False, type=person_name)
@click.option(
    "--role",
    "roles",
    metavar="ROLE[:STAGE][@TARGET]",
    multiple=True,
    type=grant,
    help="opt_role",
)
@click.option(
    "--scope",
    "scope",
    metavar="|".join(Permission),
    multiple=True,
    type=choice(*Permission),
    help="opt_scope",
)
@click.option("--second-factor", is_flag=True, help="opt_second_factor")
@click.option("--by", "by", metavar="NAME", type=person_name, help="opt_by_user")
@json_option
async def user(  # noqa: PLR0913 # one argument an option
    terminal: Terminal,
    action: str,
    name: str | None,
    by: str | None,
    *,
    roles: Sequence[Grant],
    scope: Sequence[str],
    second_factor: bool,
    as_json: bool,
) -> None:
    if (name is None) is not (action in WITHOUT_NAME):
        raise LocalizedUsageError(
            "user_takes_name" if name is None else "user_takes_no_name", action=action
        )
    if bool(roles) is not (action in WITH_ROLES):
        raise LocalizedUsageError(
            "user_needs_role" if not roles else "user_takes_no_role", action=action
        )
    if bool(scope) is not (action == "token"):
        raise LocalizedUsageError(
            "user_needs_scope" if not scope else "user_takes_no_scope", action=action
        )
    settings = await load_workspace_settings(terminal)
    require_known_targets(settings, roles)
    warn_of_unknown_stages(terminal, settings, roles)
    if action in READ_ACTIONS and not has_database(settings):
        await show(terminal, settings, None, action, as_json=as_json)
        return
    async with open_command_store(settings, policies={}) as store:
        if action in READ_ACTIONS:
            await show(terminal, settings, store, action, as_json=as_json)
        elif action == "activate":
            await activate(terminal, settings, store, with_second_factor=second_factor)
        elif action == "token":
            await issue_token(
                terminal, settings, store, name or "", frozenset(map(Permission, scope))
            )
        elif action == "password":
            await replace_password(terminal, settings, store, name or "")
        else:
            person = await identify(terminal, settings, store, f"user {action}", by)
            await require_permission(store, person, settings, f"user {action}")
            if action in CHANGES:
                change = make_change(
                    action, name or "", roles, person, second_factor=second_factor
                )
                changed = await store.user_changes.submit(
                    change, person.actor, breaks_glass=person.breaks_glass
                )
                _print_change(terminal, settings, changed)
            else:
                await administer(terminal, settings, store, action, name or "", person)


async def show(
    terminal: Terminal,
    settings: Settings,
    store: Store | None,
    action: str,
    *,
    as_json: bool,
) -> None:
    """Print the users, or the requests for a second administrator; nothing without a database."""
    if action == "requests":
        _print_requests(
            terminal,
            settings,
            await store.user_changes.requests() if store else [],
            as_json=as_json,
        )
        return
    users = await store.users.list() if store else []
    counts = (
        [await store.sign_ins.count_valid(known.name) for known in users]
        if store
        else []
    )
    _print_users(terminal, list(zip(users, counts, strict=True)), as_json=as_json)


def require_known_targets(settings: Settings, grants: Collection[Grant]) -> None:
    """Raise LocalizedUsageError for an unknown target.

    A target is an account, or a group, region or platform of one.
    """
    if unknown := find_unknown_targets(grants, settings.accounts, settings.groups):
        raise LocalizedUsageError("grant_target_unknown", value=", ".join(unknown))


def warn_of_unknown_stages(
    terminal: Terminal, settings: Settings, grants: Collection[Grant]
) -> None:
    """Print a note of stages that no kind of post has.

    Users come before the approvals that need them.
    """
    rules = settings.approval_rules
    known = {
        stage.name
        for chain in (rules.default, *rules.by_kind.values())
        for stage in chain
    }
    if unknown := sorted({stage for each in grants for stage in each.stages} - known):
        terminal.print_note(
            "grant_stage_unknown", value=terminal.translate("list_comma").join(unknown)
        )


def make_change(
    action: str,
    name: str,
    roles: Sequence[Grant],
    person: ActingPerson,
    *,
    second_factor: bool,
) -> UserChange:
    """Return the change that a command asks for.

    A reset is of one factor. A person that breaks the glass may reset both.
    """
    factors = {SignInFactor.SECOND_FACTOR if second_factor else SignInFactor.PASSWORD}
    if person.breaks_glass and not second_factor:
        factors = set(SignInFactor)
    kind = UserChangeKind(action)
    is_reset = kind is UserChangeKind.RESET
    return UserChange(
        kind=kind,
        user=name,
        grants=tuple(roles),
        factors=frozenset(factors) if is_reset else frozenset(),
    )


async def administer(  # noqa: PLR0913, PLR0917 # who does what to whom
    terminal: Terminal,
    settings: Settings,
    store: Store,
    action: str,
    name: str,
    person: ActingPerson,
) -> None:
    users, actor = store.users, person.actor
    match action:
        case "disable":
            await users.disable(name, actor)
            terminal.print_message("user_disabled", name=name)
        case "enable":
            await users.enable(name, actor, breaks_glass=person.breaks_glass)
            user = await users.get(name)
            code = "user_enabled" if user.has_password else "user_enabled_not_set_up"
            terminal.print_message(code, name=name)
        case "confirm":
            changed = await store.user_changes.confirm(
                _read_number(name), actor, breaks_glass=person.breaks_glass
            )
            _print_change(terminal, settings, changed)
        case "decline":
            change = await store.user_changes.decline(_read_number(name), actor)
            said = Formatter(
                messages=terminal.messages, timezone=settings.timezone
            ).user_change(change)
            terminal.print_message("user_change_declined", change=said)
        case _:
            await leave(terminal, settings, store, name, actor)


_read_number = int_range(1, 2**63 - 1)


def _print_change(terminal: Terminal, settings: Settings, changed: ChangedUser) -> None:
    """Print the result of a change, with the one-time link if there is one."""
    change = changed.change
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    facts = {
        "name": change.user,
        "link": settings.dashboard.make_setup_link(changed.link),
    }
    if changed.request is not None:
        until = formatter.time(changed.request.expires_at)
        waiting = {
            "change": formatter.user_request(changed.request),
            "number": changed.request.id,
            "until": until,
        }
        terminal.print_message("user_change_waits", **waiting)
    elif change.kind is UserChangeKind.RESET:
        terminal.print_message(
            "user_reset", change=formatter.user_change(change), **facts
        )
    else:
        is_change = change.kind is UserChangeKind.CHANGE
        code = (
            ("user_changed_renewed" if changed.link else "user_changed")
            if is_change
            else "user_added"
        )
        terminal.print_message(code, roles=", ".join(map(str, change.grants)), **facts)


def _print_requests(
    terminal: Terminal,
    settings: Settings,
    requests: Sequence[UserRequest],
    *,
    as_json: bool,
) -> None:
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    if as_json:
        rows = [
            {
                "number": request.id,
                "user": request.change.user,
                "kind": request.change.kind.value,
                "roles": [str(grant) for grant in request.change.grants],
                "factors": sorted(request.change.factors),
                "by": request.by,
                "at": request.at.isoformat(),
                "expires_at": request.expires_at.isoformat(),
                "renews_sign_in": request.renews_sign_in,
            }
            for request in requests
        ]
        terminal.print_json({"requests": rows})
        return
    for request in requests:
        facts = {
            "number": request.id,
            "by": request.by,
            "until": formatter.time(request.expires_at),
        }
        terminal.print_message(
            "user_request", change=formatter.user_request(request), **facts
        )
    if not requests:
        terminal.print_message("no_user_requests")


async def issue_token(
    terminal: Terminal,
    settings: Settings,
    store: Store,
    name: str,
    scope: frozenset[Permission],
) -> None:
    """Print a new token of the signed-in user, with the limits of the sign-in itself."""
    if not await store.users.exist():
        raise CommandFailedError("no_users_yet")
    if settings.environment is Environment.LIVE and (
        useless := scope & PERSONAL_PERMISSIONS
    ):
        raise CommandFailedError(
            "token_scope_personal", scope=", ".join(sorted(useless))
        )
    person = await identify(terminal, settings, store, "user token", name)
    if person.principal is None or not scope <= person.principal.scope:
        raise CommandFailedError("token_wider_than_sign_in")
    signed_in = person.principal.user
    token = await store.sign_ins.issue_token(
        name, scope, person.actor, signed_in=signed_in
    )
    terminal.print_message("user_token", name=name, scope=", ".join(sorted(scope)))
    echo(token)


async def activate(
    terminal: Terminal, settings: Settings, store: Store, *, with_second_factor: bool
) -> None:
    """Use up a one-time link from standard input, and store the new password that follows it."""
    link = read_link(_read_hidden(terminal, "ask_link"))
    opened = await store.sign_ins.open_link(link, "", own_source(), begins=False)
    if opened is None:
        raise CommandFailedError("link_invalid")
    if opened.is_elsewhere:
        raise CommandFailedError("link_begun_elsewhere")
    known = opened.user
    terminal.print_note("activating", name=known.name)
    if known.has_password:
        password = _read_hidden(terminal, "ask_password", name=known.name)
    else:
        password = _read_new_password(terminal, known.name)
    factor, code = None, ""
    if known.has_second_factor:
        code = _read_hidden(terminal, "ask_code", name=known.name)
    elif with_second_factor or known.awaits_second_factor:
        factor = make_second_factor(known.name)
        terminal.print_message(
            "second_factor_set_up", secret=factor.secret, uri=factor.uri
        )
        sys.stdout.flush()
        code = _read_hidden(terminal, "ask_code", name=known.name)
    await activate_user(
        store.users,
        link,
        password,
        by=lambda name: replace(named_person(name), sign_in=LINK_METHOD),
        second_factor=factor,
        code=code,
        load_user_key=partial(workspace_user_key, settings, creates_missing=True),
        source=own_source(),
        words=list_agency_words(settings),
    )
    if factor is not None:
        terminal.print_message(
            "recovery_codes",
            codes="\n".join(f"  {each}" for each in factor.recovery_codes),
        )
    terminal.print_message("user_activated", name=known.name)


async def replace_password(
    terminal: Terminal, settings: Settings, store: Store, name: str
) -> None:
    """Let a user set a new password after a sign-in with the old one."""
    if not await store.users.exist():
        raise CommandFailedError("no_users_yet")
    person = await identify(terminal, settings, store, "user password", name)
    if person.principal is None:
        raise CommandFailedError("no_users_yet")
    password = _read_new_password(terminal, name)
    await change_password(
        store.users,
        person.principal.user,
        password,
        person.actor,
        list_agency_words(settings),
    )
    terminal.print_message("password_changed", name=name)


def _read_new_password(terminal: Terminal, name: str) -> str:
    """Read a new password, twice where a person types it."""
    password = _read_hidden(terminal, "ask_new_password", name=name)
    if sys.stdin.isatty() and _read_hidden(terminal, "ask_password_again") != password:
        raise CommandFailedError("passwords_differ")
    return password


def _read_hidden(terminal: Terminal, prompt: str, **facts: object) -> str:
    with hidden_input():
        terminal.print_note(prompt, **facts)
        return sys.stdin.readline().rstrip("\r\n")


async def leave(
    terminal: Terminal, settings: Settings, store: Store, name: str, actor: Actor
) -> None:
    """End all rights of a person, and list all that the person has touched and seen."""
    touched = await read_touched(store, settings, name)
    traces, seen, is_owner = touched.traces, touched.secrets, touched.is_owner
    departure = await store.users.leave(name, seen, actor)
    comma, none = terminal.translate("list_comma"), terminal.translate("nothing")
    terminal.print_message(
        "user_left",
        name=name,
        sessions=departure.sessions,
        tokens=departure.tokens,
        number=len(departure.approvals),
        approvals=comma.join(departure.approvals) or none,
        accounts=comma.join(sorted(traces.accounts)) or none,
    )
    if not seen:
        terminal.print_message("left_no_secrets")
        return
    terminal.print_message(
        "left_saw_all" if is_owner else "left_saw", name=name, secrets=comma.join(seen)
    )
    for secret in seen:
        terminal.print_message("left_rotate", secret=secret)
    if is_owner:
        terminal.print_message("left_system_user", name=name)


def _print_users(
    terminal: Terminal, users: Sequence[tuple[User, tuple[int, int]]], *, as_json: bool
) -> None:
    def as_row(known: User, sessions: int, tokens: int) -> Mapping[str, Any]:
        return {
            "name": known.name,
            "roles": [str(each) for each in known.grants],
            "state": known.state.value,
            "has_password": known.has_password,
            "has_second_factor": known.has_second_factor,
            "sessions": sessions,
            "tokens": tokens,
        }

    rows = [as_row(known, sessions, tokens) for known, (sessions, tokens) in users]
    if as_json:
        terminal.print_json({"users": rows})
    elif not rows:
        terminal.print_message("no_users")
    else:
        say: Callable[[bool], str] = lambda value: terminal.translate(  # noqa: E731 # short
            "yes" if value else "no"
        )
        cells = [
            (
                row["name"],
                ", ".join(row["roles"]),
                terminal.translate(f"user_state_{row['state']}"),
                say(row["has_password"]),
                say(row["has_second_factor"]),
                str(row["sessions"]),
                str(row["tokens"]),
            )
            for row in rows
        ]
        columns = (
            "name",
            "roles",
            "state",
            "password",
            "second_factor",
            "sessions",
            "tokens",
        )
        terminal.print_table(columns, cells)
