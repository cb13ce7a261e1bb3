"""The acting person: how a command finds out, and the permission that each command needs."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from publisher.app.format import Formatter
from publisher.app.open_store import open_unchecked_store
from publisher.cli.context import report_database_errors
from publisher.cli.errors import CommandFailedError
from publisher.cli.terminal import Terminal, ask_hidden, has_terminal
from publisher.config import Environment, Settings
from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor
from publisher.domain.errors import RefusedError, SignInError
from publisher.domain.post import PostId
from publisher.domain.user import (
    PERSONAL_PERMISSIONS,
    Permission,
    Principal,
    RefusalKind,
    list_members,
    may,
)
from publisher.engine.authentication import check_code, check_password
from publisher.engine.decisions import named_person, read_system_user
from publisher.engine.departure import is_system_owner
from publisher.runtime.clock import Runtime
from publisher.runtime.redaction import register_secrets
from publisher.secrets import load_user_key, open_vault
from publisher.store.comparison import is_timeline_new
from publisher.store.store import Store

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

T = TypeVar("T")
TOKEN_VARIABLE = "PUBLISHER_TOKEN"  # noqa: S105 # the name of the variable
BREAK_GLASS_METHOD = "system owner"
COMMAND_PERMISSIONS: Mapping[str, Permission | None] = {
    "init": None,
    "check": None,
    "preview": None,
    "preview --to": Permission.SEND,
    "run": None,
    "approvals": None,
    "approve": Permission.APPROVE,
    "unapprove": Permission.STOP,
    "duty": None,
    "duty add": Permission.ADMINISTER,
    "duty remove": Permission.ADMINISTER,
    "send": Permission.SEND,
    "status": None,
    "why": None,
    "cancel": Permission.STOP,
    "retract": Permission.RETRACT,
    "correct": Permission.SEND,
    "resolve": Permission.OPERATE,
    "resend": Permission.SEND,
    "evergreen": Permission.SEND,
    "assist": None,
    "assist done": Permission.ASSIST,
    "mode": Permission.OPERATE,
    "pause": Permission.STOP,
    "resume": Permission.OPERATE,
    "refresh": Permission.SEND,
    "reload": None,
    "reload --confirm-removals": Permission.OPERATE,
    "reach": None,
    "report": None,
    "alerts": None,
    "alerts dismiss": Permission.OPERATE,
    "accounts": None,
    "doctor": None,
    "watchdog": None,
    "doctor --confirm-clock": Permission.OPERATE,
    "offboard": Permission.CREDENTIALS,
    "rename-account": Permission.CREDENTIALS,
    "templates": None,
    "backup": None,
    "restore": Permission.RECOVER,
    "migrate": None,
    "new-adapter": None,
    "login": Permission.CREDENTIALS,
    "secret set": Permission.CREDENTIALS,
    "secret remove": Permission.CREDENTIALS,
    "secret rotate": Permission.CREDENTIALS,
    "secret list": None,
    "user add": Permission.ADMINISTER,
    "user change": Permission.ADMINISTER,
    "user list": None,
    "user disable": Permission.ADMINISTER,
    "user enable": Permission.ADMINISTER,
    "user reset": Permission.ADMINISTER,
    "user leave": Permission.ADMINISTER,
    "user requests": None,
    "user confirm": Permission.ADMINISTER,
    "user decline": Permission.ADMINISTER,
    "user token": Permission.VIEW,
    "user password": Permission.VIEW,
    "user activate": None,
    "audit verify": None,
    "audit export": None,
    "audit key": None,
    "audit accept": Permission.AUDIT,
    "move-database": Permission.RECOVER,
    "web": None,
    "simulate": None,
    "demo": None,
}
"""The permissions of each command, and of each of its actions.

A command with None acts for nobody: the files' modes decide.
"""
PASSWORD_COMMANDS = frozenset({"user token", "user password"})
"""Commands that need more than a token.

It could else prolong its own life, or take the user over.
"""
PERSONAL_COMMANDS = frozenset(
    {
        "resolve",
        *(
            name
            for name, permission in COMMAND_PERMISSIONS.items()
            if permission in PERSONAL_PERMISSIONS
        ),
    }
)
"""Commands that need more than a token in live operation.

A person types password and code, or it is a drill.
"""
BREAK_GLASS_COMMANDS = frozenset({"pause", "user reset", "user enable", "user confirm"})
"""Commands for the workspace's system user without sign-in, with a red alert.

That user owns the workspace.
"""

TAKEOVER_COMMANDS = frozenset({"pause", "restore"})
"""Commands that work on a server that has just taken over.

Such a server may lack the record that a sign-in was ended.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActingPerson:
    """The acting person. Without `principal` nobody had to sign in.

    Then there are no users yet, or the glass was broken.
    """

    actor: Actor
    principal: Principal | None = None
    breaks_glass: bool = False


async def authenticate(  # noqa: PLR0913 # who does what, and to which accounts
    terminal: Terminal,
    settings: Settings,
    store: Store,
    *,
    command: str,
    by: str | None,
    accounts: Collection[AccountId] | None = None,
) -> Actor:
    """Return the proven giver of a command that is allowed for these accounts.

    Without accounts, the command is allowed for the workspace. Raises SignInError. An action
    without sign-in is recorded.
    """
    person = await identify(terminal, settings, store, command, by, accounts)
    await require_permission(store, person, settings, command, accounts)
    if person.breaks_glass:
        await store.users.record_break_glass(person.actor, command)
    return person.actor


async def authenticate_for_each(  # noqa: PLR0913 # as `authenticate`
    terminal: Terminal,
    settings: Settings,
    store: Store,
    *,
    command: str,
    by: str | None,
    targets: Mapping[T, Collection[AccountId] | None],
) -> tuple[Actor, Sequence[T]]:
    """Return the proven giver of a command, and the targets that it is allowed for.

    `targets` have their accounts, or None for the workspace. A note names the others of a family.
    Raises SignInError if the command is allowed for none.
    """
    concerned = {account for accounts in targets.values() for account in accounts or ()}
    whole = None if None in targets.values() else concerned
    person = await identify(terminal, settings, store, command, by, whole)
    permission = COMMAND_PERMISSIONS[command]
    allowed = [
        target
        for target, accounts in targets.items()
        if permission is None or is_permitted(person, settings, permission, accounts)
    ]
    if not allowed:
        await require_permission(store, person, settings, command, whole)
    left = [str(target) for target in targets if target not in allowed]
    if left:
        names = terminal.translate("list_comma").join(left)
        terminal.print_note("left_to_others", posts=names, number=len(left))
    if person.breaks_glass:
        await store.users.record_break_glass(person.actor, command)
    return person.actor, allowed


async def authenticate_for_posts(  # noqa: PLR0913 # as `authenticate`
    terminal: Terminal,
    settings: Settings,
    store: Store,
    *,
    command: str,
    by: str | None,
    posts: Iterable[PostId],
) -> tuple[Actor, Sequence[PostId]]:
    """Return the proven giver of a command, and the posts that it is allowed for."""
    return await authenticate_for_each(
        terminal,
        settings,
        store,
        command=command,
        by=by,
        targets={post: await accounts_of_post(store, post) for post in posts},
    )


def is_permitted(
    person: ActingPerson,
    settings: Settings,
    permission: Permission,
    accounts: Collection[AccountId] | None,
) -> bool:
    """Return True if the person may do something for these accounts, or nobody has to sign in."""
    members = list_members(settings.accounts.values(), settings.groups)
    return person.principal is None or person.principal.may(
        permission, accounts, members
    )


async def identify(  # noqa: PLR0913, PLR0917 # who does what, and to which accounts
    terminal: Terminal,
    settings: Settings,
    store: Store,
    command: str,
    by: str | None,
    accounts: Collection[AccountId] | None = None,
) -> ActingPerson:
    """Find out the actor: the given name until there are users; then by token or password.

    Raises SignInError. If a token is not enough, a note shows the owner how to break the glass. A
    token is checked for these accounts. Raises RefusedError while a server that took over may still
    count sign-ins that the lost one had ended.
    """
    if not await store.users.exist():
        return ActingPerson(actor=named_person(by or system_user_name()))
    await require_known_server(store, command)
    may_break_glass = command in BREAK_GLASS_COMMANDS and is_system_owner(
        settings.workspace, os.getuid()
    )
    token = "" if command in PASSWORD_COMMANDS else os.environ.get(TOKEN_VARIABLE, "")
    register_secrets([token] if token else [])
    is_too_weak = token != "" and needs_person(settings, command)
    if token and not is_too_weak:
        person = await _find_token_holder(
            terminal, settings, store, token, by, command, accounts, may_break_glass
        )
        if person is not None:
            return person
    if by is not None and (has_terminal() or not may_break_glass or is_too_weak):
        code = (
            "ask_password_or_break_glass"
            if may_break_glass and not is_too_weak
            else "ask_password"
        )
        password = ask_hidden(terminal.translate(code, name=by))
        if command == "secret set" and password.startswith("{") and not has_terminal():
            raise SignInError("secret_instead_of_password", variable=TOKEN_VARIABLE)
        if password:
            return _make_person(await _sign_in(terminal, settings, store, by, password))
    if is_too_weak:
        if may_break_glass:
            terminal.print_note(
                "break_glass_without_token", variable=TOKEN_VARIABLE, command=command
            )
        await _note_token(store, await store.sign_ins.find_token(token))
        raise SignInError("token_not_enough", variable=TOKEN_VARIABLE, command=command)
    if may_break_glass:
        actor = replace(
            named_person(by or system_user_name()), sign_in=BREAK_GLASS_METHOD
        )
        return ActingPerson(actor=actor, breaks_glass=True)
    raise SignInError("sign_in_needed", variable=TOKEN_VARIABLE)


async def _find_token_holder(  # noqa: PLR0913, PLR0917 # as `identify`
    terminal: Terminal,
    settings: Settings,
    store: Store,
    token: str,
    by: str | None,
    command: str,
    accounts: Collection[AccountId] | None,
    may_break_glass: bool,  # noqa: FBT001 # one of the facts
) -> ActingPerson | None:
    """Return the actor of a token; None if it is void, but the owner may act without one."""
    principal = await store.sign_ins.find_token(token)
    try:
        person = await _check_token(store, principal, by)
        if may_break_glass:
            await require_permission(store, person, settings, command, accounts)
    except SignInError:
        # a token that has expired overnight must not keep the owner from stopping everything; the
        # roles of one that has not are obeyed until the owner leaves it out
        if principal is None and may_break_glass:
            return None
        if may_break_glass:
            terminal.print_note(
                "break_glass_without_token", variable=TOKEN_VARIABLE, command=command
            )
        raise
    return person


def needs_person(settings: Settings, command: str) -> bool:
    """Return True if a token is not enough for a command: in a drill scripts may act for people."""
    return settings.environment is Environment.LIVE and command in PERSONAL_COMMANDS


async def require_known_server(store: Store, command: str) -> None:
    """Raise RefusedError while the server has just taken over, and no daemon knows that yet."""
    database = store.database
    if (
        database.is_shared
        and command not in TAKEOVER_COMMANDS
        and await database.read(is_timeline_new)
    ):
        raise RefusedError("server_took_over")


async def require_permission(
    store: Store,
    person: ActingPerson,
    settings: Settings,
    command: str,
    accounts: Collection[AccountId] | None = None,
) -> None:
    """Raise SignInError unless the person may give a command for these accounts.

    Without accounts, the command is for the workspace.
    """
    permission = COMMAND_PERMISSIONS[command]
    if person.principal is None or permission is None:
        return
    members = list_members(settings.accounts.values(), settings.groups)
    if not person.principal.may(permission, accounts, members):
        await store.users.attempts.note_refusal(
            RefusalKind.PERMISSION, person.actor.name, own_source()
        )
        is_limited_by_token = may(person.principal.user, permission, accounts, members)
        code = "not_permitted_by_token" if is_limited_by_token else "not_permitted"
        raise SignInError(
            code, name=person.actor.name, command=command, permission=permission.value
        )


async def authenticate_offline(
    terminal: Terminal,
    settings: Settings,
    *,
    command: str,
    by: str | None,
    accounts: Collection[AccountId] | None = None,
) -> Actor:
    """Return the actor, as `authenticate` does, for a command that must work without the database.

    The database is read as it is. If it cannot be read, the system user that owns the workspace
    needs no sign-in. Any other gets the error.
    """
    try:
        with report_database_errors(settings.database):
            async with open_unchecked_store(settings, Runtime()) as store:
                if store is not None:
                    return await authenticate(
                        terminal,
                        settings,
                        store,
                        command=command,
                        by=by,
                        accounts=accounts,
                    )
    except (CommandFailedError, OSError):
        if not is_system_owner(settings.workspace, os.getuid()):
            raise
    return named_person(by or system_user_name())


async def accounts_of_post(store: Store, post: PostId) -> Collection[AccountId]:
    """Return the accounts that a post is or was for."""
    stored = await store.posts.get_post(post)
    planned = {delivery.account for delivery in await store.queries.deliveries(post)}
    return planned.union(stored.accounts if stored else ())


async def accounts_in_scope(
    scope: str, settings: Settings, store: Store
) -> Collection[AccountId] | None:
    """Return the accounts in the scope of a pause.

    None means all, with the accounts that have left the settings.
    """
    kind, _, name = scope.partition(":")
    match kind:
        case "account":
            return [AccountId(name)]
        case "platform":
            return [
                account.id
                for account in settings.accounts.values()
                if account.platform == name
            ]
        case "post":
            return {
                account
                for post in await store.queries.find_posts(name)
                for account in await accounts_of_post(store, post)
            }
        case _:
            return None


async def _sign_in(
    terminal: Terminal, settings: Settings, store: Store, name: str, password: str
) -> Principal:
    """Check password and code.

    Notes name the person that reset the sign-in, and the number of failed attempts.
    """
    user = await check_password(store.users, name, password, own_source())
    principal = Principal(user=user, method="password")
    if user.has_second_factor:
        code = ask_hidden(terminal.translate("ask_code", name=name))
        load_key = partial(workspace_user_key, settings)
        principal = await check_code(store.users, user, code, own_source(), load_key)
    formatter = Formatter(messages=terminal.messages, timezone=settings.timezone)
    for reset in await store.user_changes.recent_resets(name):
        terminal.print_note("sign_in_was_reset", reset=formatter.sign_in_reset(reset))
    if (failed := await store.users.attempts.take_failures(name)) is not None:
        at = formatter.time(failed.last_at)
        terminal.print_note(
            "failed_sign_ins", number=failed.number, at=at, source=failed.source
        )
    return principal


def own_source() -> str:
    """Return where an attempt by a command comes from: the system user."""
    return f"uid {os.getuid()}"


def workspace_user_key(
    settings: Settings, *, creates_missing: bool = False
) -> "MultiFernet":
    """Return the cipher of the users' second factors; see `load_user_key`."""
    vault = open_vault(settings.workspace)
    return load_user_key(vault, settings.secrets_dir, creates_missing=creates_missing)


async def _note_token(store: Store, principal: Principal | None) -> None:
    """Leave a trace of a token that was refused, under the name of its user if it is valid."""
    name = "" if principal is None else principal.user.name
    await store.users.attempts.note_refusal(RefusalKind.TOKEN, name, own_source())


async def _check_token(
    store: Store, principal: Principal | None, by: str | None
) -> ActingPerson:
    if principal is None or by not in {None, principal.user.name}:
        await _note_token(store, principal)
    if principal is None:
        raise SignInError("token_invalid", variable=TOKEN_VARIABLE)
    if by is not None and by != principal.user.name:
        raise SignInError("token_of_another", by=by, name=principal.user.name)
    return _make_person(principal)


def _make_person(principal: Principal) -> ActingPerson:
    actor = replace(named_person(principal.user.name), sign_in=principal.method)
    return ActingPerson(actor=actor, principal=principal)


def system_user_name() -> str:
    """Return the name of the system user, for a person that gives no other name."""
    user = read_system_user()
    return user.user or f"uid {user.uid}"
