"""Tokens in live operation: person-only actions take password and code; in a drill a token does."""

import asyncio
import io
import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from publisher.app.application import open_application
from publisher.cli.application import activate_schedule
from publisher.cli.authentication import (
    COMMAND_PERMISSIONS,
    PERSONAL_COMMANDS,
    PERSONAL_PERMISSIONS,
)
from publisher.config import load_settings
from publisher.domain.user import Grant, Permission, UserRole
from publisher.engine.authentication import hash_password
from publisher.engine.decisions import named_person
from publisher.store.people.users import NewSignIn
from publisher.testing.fakes import make_confirmed_runtime
from tests.cli.conftest import CAPTCHA, TO_WEIBO, make_drill
from tests.cli.posts import warning, write_schedule
from tests.cli.test_roles import ARGUMENTS

PASSWORD, NAME = "correct horse battery", "zhang"
NOT_ENOUGH = "takes more than a token"
HELD = ("resolve", "waiting@beijing-weibo", "cancel", "--reason", "test")


async def fill(folder):
    """File a waiting, held post and an all-role user; return a token of theirs for everything."""
    application_of = open_application(
        await load_settings(folder), make_confirmed_runtime(), can_send=False
    )
    async with application_of as application:
        store, by = application.store, named_person("li")
        await activate_schedule(application)
        link = await store.users.add(NAME, [Grant(role=role) for role in UserRole], by)
        sign_in = NewSignIn(password_hash=await hash_password(PASSWORD))
        await store.users.activate(link, sign_in, named_person)
        await store.users.add("spare", [Grant(role=UserRole.VIEWER)], by)
        return await store.sign_ins.issue_token(NAME, Permission, by)


@pytest.fixture
def staffed(request, tmp_path, workspace):
    """Return a workspace, live unless the test asks for a drill, and a token for everything."""
    is_drill = getattr(request, "param", "live") == "drill"
    folder = (
        make_drill(tmp_path / "drill", "http://127.0.0.1:9") if is_drill else workspace
    )
    now = datetime.now(ZoneInfo("Asia/Shanghai")).replace(microsecond=0, tzinfo=None)
    write_schedule(folder, warning("waiting", f"at = {now.isoformat()}", TO_WEIBO))
    return folder, asyncio.run(fill(folder))


@pytest.fixture
def ask(run, staffed, monkeypatch):
    """Return a function that gives a command with the token, and with lines of standard input."""
    folder, token = staffed

    def run_with(*arguments, lines=(), has_token=True):
        monkeypatch.setattr(
            "sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines))
        )
        monkeypatch.setenv("PUBLISHER_TOKEN", token if has_token else "")
        return run("-C", folder, "--lang", "en", *arguments)

    return run_with


def arguments_of(name):
    return (*ARGUMENTS[name], "--by", NAME)


@pytest.mark.parametrize("name", sorted(PERSONAL_COMMANDS - {"resolve"}))
def test_in_live_operation_a_token_is_not_enough(ask, name):
    """In live operation a token of any scope approves, administers and recovers nothing.

    The message gives the next step.
    """
    refused = ask(*arguments_of(name))
    assert (refused.code, NOT_ENOUGH in refused.err, "--by" in refused.err) == (
        3,
        True,
        True,
    ), refused.err


@pytest.mark.parametrize("name", ["user add", "duty add", "approve"])
def test_a_password_beside_the_token_is_asked_for_and_signs_in(ask, name):
    """A person with an exported token is asked for the password and carries on."""
    given = ask(*arguments_of(name), lines=[PASSWORD])
    assert given.code != 3, given.err
    assert ask(*arguments_of(name), lines=["not the password"]).code == 3


@pytest.mark.parametrize("staffed", ["drill"], indirect=True)
@pytest.mark.parametrize("name", ["approve", "user add", "duty add"])
def test_in_a_drill_a_token_is_enough(ask, name):
    """Scripts play people there."""
    given = ask(*arguments_of(name))
    assert given.code != 3, given.err


@pytest.mark.usefixtures("held")
def test_a_live_resolution_takes_a_person(ask):
    """A live resolution takes a person, not a token, as it decides the sending."""
    refused = ask(*HELD, "--by", NAME)
    assert (refused.code, NOT_ENOUGH in refused.err) == (3, True), refused.err
    assert ask(*HELD, "--by", NAME, lines=[PASSWORD]).code == 0


@pytest.fixture
def held(staffed):
    """Hold the post of the workspace for a person."""
    folder, _token = staffed

    async def hold_all():
        application_of = open_application(
            await load_settings(folder), make_confirmed_runtime(), can_send=True
        )
        async with application_of as application:
            store = application.store
            await store.maintenance.promote_due()
            for lease in await store.outbox.claim(10):
                await store.outbox.record_intent(lease)
                await store.outbox.record_outcome(lease, CAPTCHA)

    asyncio.run(hold_all())


@pytest.mark.parametrize("scope", sorted(PERSONAL_PERMISSIONS))
def test_no_token_for_what_takes_a_person_is_issued_in_live_operation(ask, scope):
    """Not even with the password; others are."""
    issue = ("user", "token", NAME, "--scope")
    refused = ask(*issue, scope, "--scope", "stop", lines=[PASSWORD], has_token=False)
    assert (refused.code, "no token has these permissions" in refused.err) == (
        1,
        True,
    ), refused.err
    assert ask(*issue, "stop", lines=[PASSWORD], has_token=False).code == 0


def test_a_token_that_is_not_enough_does_not_break_the_glass(ask):
    """An owner with a token is shown the way without sign-in, and never takes it by accident."""
    refused = ask("user", "reset", "spare", "--by", NAME)
    assert (refused.code, "PUBLISHER_TOKEN= publisher user reset" in refused.err) == (
        3,
        True,
    ), refused.err
    assert ask("alerts", "--json").json["alerts"] == []


def test_a_token_that_is_not_enough_leaves_a_trace(ask, staffed):
    """An attempt that a stolen token does not allow is in the audit, under its user's name."""
    ask("user", "disable", "spare")
    export = staffed[0] / "audit.jsonl"
    ask("audit", "export", str(export))
    entries = map(json.loads, export.read_text("utf-8").splitlines())
    assert [
        entry["subject"] for entry in entries if entry.get("event") == "token_refused"
    ] == [f"user:{NAME}"]


def test_what_stops_posts_takes_no_more_than_a_token():
    """Pausing, cancelling and ending approvals take no more than a token, for emergencies.

    They stay open to scripts, as nobody looks for a telephone then.
    """
    stopping = {
        name
        for name, permission in COMMAND_PERMISSIONS.items()
        if permission is Permission.STOP
    }
    assert stopping & PERSONAL_COMMANDS == set()
