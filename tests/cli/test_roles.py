"""Each role and each command of a person on a real workspace: only allowed users may act."""

import asyncio
import io
from datetime import datetime, timedelta
from importlib import import_module
from zoneinfo import ZoneInfo

import pytest

from publisher.app.application import open_application
from publisher.cli import COMMANDS
from publisher.cli.application import activate_schedule
from publisher.cli.authentication import (
    BREAK_GLASS_COMMANDS,
    COMMAND_PERMISSIONS,
    PASSWORD_COMMANDS,
)
from publisher.config import load_settings
from publisher.domain.results import Rejected
from publisher.domain.user import (
    ROLE_PERMISSIONS,
    Grant,
    UserRole,
    parse_grant,
    permissions_of,
)
from publisher.engine.decisions import named_person
from publisher.store.people.users import NewSignIn
from publisher.testing.fakes import make_confirmed_runtime
from tests.cli.conftest import TO_WEIBO, make_drill
from tests.cli.posts import warning, write_schedule
from tests.cli.test_correct import CORRECTION

REASON = ("--reason", "test")
SECRET = '{"app_key": "1", "app_secret": "2", "access_token": "3"}'
ARGUMENTS = {
    "preview --to": (
        "preview",
        "refund",
        "--account",
        "beijing-wechat",
        "--now",
        "--to",
        "someone",
    ),
    "approve": ("approve", "waiting", "--fingerprint", "0" * 16),
    "unapprove": ("unapprove", "waiting", *REASON),
    "duty add": ("duty", "add", "spare"),
    "duty remove": ("duty", "remove", "spare"),
    "send": ("send", "waiting"),
    "cancel": ("cancel", "cancelled", *REASON),
    "retract": ("retract", "cancelled", *REASON),
    "correct": ("correct", "refund", "fix"),
    "resolve": ("resolve", "waiting@beijing-weibo", "cancel", *REASON),
    "resend": ("resend", "refund@beijing-weibo", *REASON),
    "refresh": ("refresh", "waiting"),
    "evergreen": ("evergreen", "beijing-weibo"),
    "assist done": ("assist", "done", "waiting@beijing-weibo", "https://weibo.com/1/a"),
    "mode": ("mode", "beijing-tieba", "off", *REASON),
    "pause": ("pause",),
    "resume": ("resume",),
    "reload --confirm-removals": ("reload", "--confirm-removals", "1"),
    "alerts dismiss": ("alerts", "dismiss", "999"),
    "doctor --confirm-clock": ("doctor", "--confirm-clock"),
    "offboard": ("offboard", "beijing-tieba", *REASON),
    "rename-account": ("rename-account", "no-such-account", "beijing-tieba", *REASON),
    "restore": ("restore", "no-such-file.db"),
    "login": ("login", "beijing-weibo"),
    "secret set": ("secret", "set", "beijing-weibo"),
    "secret remove": ("secret", "remove", "no-such-secret"),
    "secret rotate": ("secret", "rotate"),
    "audit accept": ("audit", "accept", "--anchors", "no-such-file", *REASON),
    "move-database": ("move-database", "postgresql://publisher@127.0.0.1:9/publisher"),
    "user add": ("user", "add", "new", "--role", "viewer"),
    "user change": ("user", "change", "spare", "--role", "author"),
    "user disable": ("user", "disable", "spare"),
    "user enable": ("user", "enable", "spare"),
    "user reset": ("user", "reset", "spare"),
    "user leave": ("user", "leave", "gone"),
    "user confirm": ("user", "confirm", "999"),
    "user decline": ("user", "decline", "999"),
    "user password": ("user", "password", "{name}"),
    "user token": ("user", "token", "{name}", "--scope", "view"),
}
"""Command lines that reach the sign-in check and leave the workspace usable for the next one.

No alert has that number: an alert of an earlier command would be of an account.
"""
ON_ACCOUNTS = {
    "preview --to": ["beijing-wechat"],
    "approve": ["beijing-weibo"],
    "unapprove": ["beijing-weibo"],
    "send": ["beijing-weibo"],
    "cancel": ["beijing-weibo"],
    "retract": ["beijing-weibo"],
    "correct": ["beijing-weibo", "beijing-wechat"],
    "resolve": ["beijing-weibo"],
    "resend": ["beijing-weibo"],
    "refresh": ["beijing-weibo"],
    "evergreen": ["beijing-weibo"],
    "assist done": ["beijing-weibo"],
    "mode": ["beijing-tieba"],
    "pause": ["beijing-weibo"],
    "resume": ["beijing-weibo"],
    "offboard": ["beijing-tieba"],
    "login": ["beijing-weibo"],
    "secret set": ["beijing-weibo"],
}
"""The accounts that a command line acts on; of all others the whole workspace is the target."""
ARGUMENTS_OF_ONE = {
    "pause": ("pause", "beijing-weibo"),
    "resume": ("resume", "beijing-weibo"),
}
"""Command lines that act on the whole workspace above, and here on an account."""
WORKSPACE_LIMITED = {
    permission: f"{role}@platform:weibo,platform:wechat"
    for role, permissions in ROLE_PERMISSIONS.items()
    for permission in permissions
}
"""The user for each permission, with a role limited to two platforms that has the permission."""
PLATFORMS = ("weibo", "wechat", "tieba")
SHORT_ROLES = (UserRole.VIEWER, UserRole.OPERATOR)
"""The roles that each short run tries: one that may act nowhere, and one that may often act."""
KINDS = ("account", "group", "region", "platform")
ACTING = [
    name for name, permission in COMMAND_PERMISSIONS.items() if permission is not None
]
NOT_PERMITTED = "may not run publisher"


def target_of(kind, account):
    """Return the limit of a role that covers an account."""
    platform = account.rpartition("-")[2]
    of_platform = {"group": f"only-{platform}", "platform": f"platform:{platform}"}
    return {"account": account, "region": "region:110000", **of_platform}[kind]


def inside(name, kind):
    """Return targets that cover the accounts of a command line."""
    return frozenset(target_of(kind, account) for account in ON_ACCOUNTS[name])


def outside(name, kind):
    """Return targets that cover all accounts of a command line but one, and another account."""
    if kind == "region":
        return frozenset({"region:120000"})
    missing, *others = ON_ACCOUNTS[name]
    instead = next(
        f"beijing-{each}"
        for each in PLATFORMS
        if f"beijing-{each}" not in ON_ACCOUNTS[name]
    )
    return frozenset(target_of(kind, account) for account in (*others, instead)) - {
        target_of(kind, missing)
    }


def role_for(name):
    """Return a role that allows a command, and may be limited to accounts."""
    roles = (UserRole.AUTHOR, UserRole.APPROVER, UserRole.OPERATOR)
    return next(
        role for role in roles if COMMAND_PERMISSIONS[name] in ROLE_PERMISSIONS[role]
    )


LIMITED = {
    Grant(role=role_for(name), targets=targets(name, kind))
    for name in ON_ACCOUNTS
    for kind in KINDS
    for targets in (inside, outside)
}
"""The grants of users with limited roles; each user is named like its own grant."""


@pytest.fixture(scope="module")
def staffed(tmp_path_factory):
    """Return a drill with a user of each role and limit, posts in several states, and tokens."""
    folder = make_drill(
        tmp_path_factory.mktemp("roles") / "drill", "http://127.0.0.1:9"
    )
    settings = folder / "publisher.toml"
    groups = "".join(
        f'only-{platform} = ["beijing-{platform}"]\n' for platform in PLATFORMS
    )
    settings.write_text(
        settings.read_text("utf-8").replace("[groups]\n", f"[groups]\n{groups}"),
        "utf-8",
    )
    now = datetime.now(ZoneInfo("Asia/Shanghai")).replace(microsecond=0, tzinfo=None)
    due, later = (
        f"at = {now.isoformat()}",
        f"at = {(now + timedelta(hours=5)).isoformat()}",
    )
    write_schedule(
        folder,
        warning("refund", due, '["beijing-weibo", "beijing-wechat"]'),
        warning("waiting", later, TO_WEIBO),
        warning("cancelled", later, TO_WEIBO),
        CORRECTION.format(id="fix", follows="refund", when=later, to=TO_WEIBO),
    )

    async def fill():
        async with open_application(
            await load_settings(folder), make_confirmed_runtime(), can_send=True
        ) as application:
            store, by = application.store, named_person("li")
            await activate_schedule(application)
            await store.maintenance.promote_due()
            for lease in await store.outbox.claim(10):
                await store.outbox.record_intent(lease)
                await store.outbox.record_outcome(
                    lease, Rejected(code="weibo_20012", reason="too long")
                )
            tokens = {}
            for role in (UserRole.ADMIN, *UserRole, "spare", "gone"):
                if role in tokens:
                    continue
                grants = [
                    Grant(role=role if isinstance(role, UserRole) else UserRole.VIEWER)
                ]
                link = await store.users.add(role, grants, by)
                user = await store.users.activate(
                    link, NewSignIn(password_hash="none"), named_person
                )
                tokens[role] = await store.sign_ins.issue_token(
                    role, permissions_of(user), by
                )
            for grant in {*map(str, LIMITED), *WORKSPACE_LIMITED.values()}:
                link = await store.users.add(grant, [parse_grant(grant)], by)
                user = await store.users.activate(
                    link, NewSignIn(password_hash="none"), named_person
                )
                tokens[grant] = await store.sign_ins.issue_token(
                    grant, permissions_of(user), by
                )
            return tokens

    return folder, asyncio.run(fill())


@pytest.fixture
def run_as(run, staffed, monkeypatch):
    """Return a function that gives a command with the token of a user, or with none."""
    folder, tokens = staffed

    def run_with_token(name, user, **instead):
        by = user or "nobody"
        monkeypatch.setattr("sys.stdin", io.StringIO(SECRET if user else ""))
        if user:
            monkeypatch.setenv("PUBLISHER_TOKEN", tokens[user])
        arguments = [
            part.format(name=by) for part in instead.get(name) or ARGUMENTS[name]
        ]
        return run("-C", folder, "--lang", "en", *arguments, "--by", by)

    return run_with_token


@pytest.mark.parametrize(
    "role",
    [
        pytest.param(role, marks=() if role in SHORT_ROLES else pytest.mark.long)
        for role in UserRole
    ],
)
@pytest.mark.parametrize(
    "name", [name for name in ACTING if name not in PASSWORD_COMMANDS]
)
def test_a_command_is_for_those_whose_role_allows_it(run_as, name, role):
    """A permitted command is carried out or fails for its own reasons; else it exits 3."""
    is_allowed = COMMAND_PERMISSIONS[name] in ROLE_PERMISSIONS[role]
    result = run_as(name, role)
    was_refused = (result.code, NOT_PERMITTED in result.err) == (3, True)
    assert was_refused is not is_allowed, result.err


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ON_ACCOUNTS)
def test_a_limited_role_acts_on_its_accounts_alone(run_as, name, kind):
    """A role limited in any way is refused over any other account, and over none of its own."""
    others, own = (
        run_as(
            name,
            str(Grant(role=role_for(name), targets=targets(name, kind))),
            **ARGUMENTS_OF_ONE,
        )
        for targets in (outside, inside)
    )
    assert (others.code, NOT_PERMITTED in others.err) == (3, True), others.err
    assert NOT_PERMITTED not in own.err


def test_a_correction_is_sent_by_those_who_send_on_all_accounts_of_its_original(run_as):
    """Its own entry names one account; it stops the original on the other one too."""
    one, all_of_it = (
        run_as(
            "send",
            str(Grant(role=role_for("send"), targets=inside(name, "account"))),
            send=("send", "fix"),
        )
        for name in ("send", "correct")
    )
    assert (one.code, NOT_PERMITTED in one.err) == (3, True), one.err
    assert NOT_PERMITTED not in all_of_it.err


@pytest.mark.parametrize(
    "name", [name for name in ACTING if name not in {*ON_ACCOUNTS, *PASSWORD_COMMANDS}]
)
def test_a_limited_role_does_not_act_on_the_workspace(run_as, name):
    """A command for no account, or for all of them, needs a role without limits."""
    result = run_as(name, WORKSPACE_LIMITED[COMMAND_PERMISSIONS[name]])
    assert (result.code, NOT_PERMITTED in result.err) == (3, True), result.err


@pytest.mark.parametrize("name", ACTING)
def test_nobody_acts_without_a_sign_in(run_as, name, monkeypatch):
    """Without a token and a password each command exits 3, except one that breaks the glass.

    This includes the owner.
    """
    monkeypatch.delenv("PUBLISHER_TOKEN", raising=False)
    result = run_as(name, None)
    if name in BREAK_GLASS_COMMANDS:
        # what there is to confirm is tried in test_user.py
        is_over = "Request 999 was settled" in result.err
        assert result.code == 0 or (name == "user confirm" and is_over), result.err
    else:
        assert (result.code, "must know who acts" in result.err) == (3, True), (
            result.err
        )


def test_every_command_declares_what_it_needs():
    """A command without an entry, an entry without a command, and an untried entry are found."""
    assert {name.split(maxsplit=1)[0] for name in COMMAND_PERMISSIONS} == set(COMMANDS)
    assert set(ARGUMENTS) == set(ACTING)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_takes_a_name_asks_whose_it_is(name):
    """A command has the option --by exactly if something that it does needs a permission."""
    module = name.replace("-", "_")
    command = getattr(import_module(f"publisher.cli.commands.{module}"), module)
    takes_name = any("--by" in param.opts for param in command.params)
    needs = [
        need
        for entry, need in COMMAND_PERMISSIONS.items()
        if entry.split(maxsplit=1)[0] == name
    ]
    assert takes_name is any(need is not None for need in needs)
