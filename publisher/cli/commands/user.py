"""`user`: who may sign in, as what, and with which tokens."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import click

from publisher.app.departure import read_touched
from publisher.cli.authentication import (
    ActingPerson,
    identify,
    require_permission,
    workspace_user_key,
)
from publisher.cli.context import has_database, load_workspace_settings, open_command_store
from publisher.cli.errors import CommandFailedError
from publisher.cli.framework import LocalizedUsageError, choice, command, json_option, person_name
from publisher.cli.terminal import Terminal, echo, hidden_input
from publisher.config import Settings
from publisher.domain.delivery import Actor
from publisher.domain.user import Grant, GrantSyntaxError, Permission, User, find_unknown_targets, parse_grant
from publisher.engine.authentication import activate_user, change_password, list_agency_words, make_second_factor
from publisher.engine.decisions import named_person
from publisher.store.store import Store

ACTIONS = ("add", "change", "list", "disable", "enable", "reset", "leave", "token", "password", "activate")
WITH_ROLES = frozenset({"add", "change"})
WITHOUT_NAME = frozenset({"list", "activate"})
LINK_METHOD = "one-time link"


def grant(value: str) -> Grant:
    """Parse a role with its stages and targets."""
    try:
        return parse_grant(value)
    except GrantSyntaxError as error:
        raise LocalizedUsageError(error.code, value=error.value) from None


@command("user")
@click.argument("action", metavar="|".join(ACTIONS), type=choice(*ACTIONS))
@click.argument("name", metavar="[NAME]", required=False, type=person_name)
@click.option("--role", "roles", metavar="ROLE[:STAGE][@TARGET]", multiple=True, type=grant, help="opt_role")
@click.option(
    "--scope", "scope", metavar="|".join(Permission), multiple=True, type=choice(*Permission), help="opt_scope"
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
        raise LocalizedUsageError("user_takes_name" if name is None else "user_takes_no_name", action=action)
    if bool(roles) is not (action in WITH_ROLES):
        raise LocalizedUsageError("user_needs_role" if not roles else "user_takes_no_role", action=action)
    if bool(scope) is not (action == "token"):
        raise LocalizedUsageError("user_needs_scope" if not scope else "user_takes_no_scope", action=action)
    settings = await load_workspace_settings(terminal)
    require_known_targets(settings, roles)
    warn_of_unknown_stages(terminal, settings, roles)
    if action == "list" and not has_database(settings):
        _print_users(terminal, [], as_json=as_json)
        return
    async with open_command_store(settings, policies={}) as store:
        if action == "list":
            users = await store.users.list()
            counts = [await store.sign_ins.count_valid(known.name) for known in users]
            _print_users(terminal, list(zip(users, counts, strict=True)), as_json=as_json)
        elif action == "activate":
            await activate(terminal, settings, store, with_second_factor=second_factor)
        elif action == "token":
            await issue_token(terminal, settings, store, name or "", frozenset(map(Permission, scope)))
        elif action == "password":
            await replace_password(terminal, settings, store, name or "")
        else:
            person = await identify(terminal, settings, store, f"user {action}", by)
            await require_permission(store, person, settings, f"user {action}")
            await administer(terminal, settings, store, action, name or "", roles, person)


def require_known_targets(settings: Settings, grants: Collection[Grant]) -> None:
    """Raise LocalizedUsageError for a target that is neither an account nor a group, region or platform of one."""
    if unknown := find_unknown_targets(grants, settings.accounts, settings.groups):
        raise LocalizedUsageError("grant_target_unknown", value=", ".join(unknown))


def warn_of_unknown_stages(terminal: Terminal, settings: Settings, grants: Collection[Grant]) -> None:
    """Print a note of stages that no kind of post has: users come before the approvals that need them."""
    rules = settings.approval_rules
    known = {stage.name for chain in (rules.default, *rules.by_kind.values()) for stage in chain}
    if unknown := sorted({stage for each in grants for stage in each.stages} - known):
        terminal.print_note("grant_stage_unknown", value=terminal.translate("list_comma").join(unknown))


async def administer(  # noqa: PLR0913, PLR0917 # who does what to whom
    terminal: Terminal,
    settings: Settings,
    store: Store,
    action: str,
    name: str,
    roles: Sequence[Grant],
    person: ActingPerson,
) -> None:
    users, actor = store.users, person.actor
    granted = ", ".join(map(str, roles))
    match action:
        case "add":
            link = await users.add(name, roles, actor)
            terminal.print_message("user_added", name=name, roles=granted, link=link)
        case "change":
            await users.change_grants(name, roles, actor)
            terminal.print_message("user_changed", name=name, roles=granted)
        case "disable":
            await users.disable(name, actor)
            terminal.print_message("user_disabled", name=name)
        case "enable":
            await users.enable(name, actor, breaks_glass=person.breaks_glass)
            terminal.print_message("user_enabled", name=name)
        case "reset":
            link = await users.reset(name, actor, breaks_glass=person.breaks_glass)
            terminal.print_message("user_reset", name=name, link=link)
        case _:
            await leave(terminal, settings, store, name, actor)


async def issue_token(
    terminal: Terminal, settings: Settings, store: Store, name: str, scope: frozenset[Permission]
) -> None:
    """Print a new token of the user who signs in, limited to what the sign-in itself is limited to."""
    if not await store.users.exist():
        raise CommandFailedError("no_users_yet")
    person = await identify(terminal, settings, store, "user token", name)
    if person.principal is None or not scope <= person.principal.scope:
        raise CommandFailedError("token_wider_than_sign_in")
    signed_in = person.principal.user
    token = await store.sign_ins.issue_token(name, scope, person.actor, signed_in=signed_in)
    terminal.print_message("user_token", name=name, scope=", ".join(sorted(scope)))
    echo(token)


async def activate(terminal: Terminal, settings: Settings, store: Store, *, with_second_factor: bool) -> None:
    """Use up a one-time link from standard input, and store the new password that follows it."""
    link = _read_hidden(terminal, "ask_link").rstrip("/").rpartition("/")[2]
    if (known := await store.users.find_link(link)) is None:
        raise CommandFailedError("link_invalid")
    terminal.print_note("activating", name=known.name)
    password = _read_new_password(terminal, known.name)
    factor, code = None, ""
    if with_second_factor:
        factor = make_second_factor(known.name)
        terminal.print_message("second_factor_set_up", secret=factor.secret, uri=factor.uri)
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
        words=list_agency_words(settings),
    )
    if factor is not None:
        terminal.print_message("recovery_codes", codes="\n".join(f"  {each}" for each in factor.recovery_codes))
    terminal.print_message("user_activated", name=known.name)


async def replace_password(terminal: Terminal, settings: Settings, store: Store, name: str) -> None:
    """Let a user who signs in with the old password set a new one."""
    if not await store.users.exist():
        raise CommandFailedError("no_users_yet")
    person = await identify(terminal, settings, store, "user password", name)
    if person.principal is None:
        raise CommandFailedError("no_users_yet")
    password = _read_new_password(terminal, name)
    await change_password(store.users, person.principal.user, password, person.actor, list_agency_words(settings))
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


async def leave(terminal: Terminal, settings: Settings, store: Store, name: str, actor: Actor) -> None:
    """End all that a person can do, and list what that person has touched and seen."""
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
    terminal.print_message("left_saw_all" if is_owner else "left_saw", name=name, secrets=comma.join(seen))
    for secret in seen:
        terminal.print_message("left_rotate", secret=secret)
    if is_owner:
        terminal.print_message("left_system_user", name=name)


def _print_users(terminal: Terminal, users: Sequence[tuple[User, tuple[int, int]]], *, as_json: bool) -> None:
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
        say: Callable[[bool], str] = lambda value: terminal.translate("yes" if value else "no")  # noqa: E731 # short
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
        columns = ("name", "roles", "state", "password", "second_factor", "sessions", "tokens")
        terminal.print_table(columns, cells)
