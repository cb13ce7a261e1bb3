"""F98: nothing is created with a secret before the platform confirms its account."""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from publisher.domain.account import Mode
from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Healthy,
    HoldReason,
    RateLimited,
    Unknown,
)
from publisher.engine.credentials import CredentialCheck
from publisher.engine.decisions import named_person
from publisher.engine.monitor import check_logins_due
from publisher.engine.sender import send_due
from publisher.secrets import MAX_SECRET_BYTES, LoginSecret, Vault
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter, FakeRuntime

LI = named_person("li")


@dataclass(slots=True)
class OwnedAdapter(FakeAdapter):
    """An adapter that publishes on its secret's own account, as some platforms do."""

    account: str = ""
    secret: LoginSecret | None = None
    answers: list[object] = field(default_factory=list)
    published: list[tuple[str, str]] = field(default_factory=list)
    checks: int = 0

    async def publish(self, request):
        self.published.append((self.secret.read()["token"], request.rendered.title))
        return await FakeAdapter.publish(self, request)

    async def check_health(self):
        self.checks += 1
        if self.answers:
            answer = self.answers.pop(0)
            return answer() if callable(answer) else answer
        owner = self.secret.read()["token"]
        if owner != self.account:
            return Blocked(
                code="other_owner", reason=owner, hold_reason=HoldReason.WRONG_ACCOUNT
            )
        return Healthy()


class CredentialScene:
    """Accounts with secrets that name their owners, in files, and the sending jobs."""

    def __init__(self, store, folder):
        self.store, self.folder = store, folder
        self.secrets = {
            name: LoginSecret(
                name=name, account=name, secrets_dir=folder, vault=Vault(folder=folder)
            )
            for name in store.policies
        }
        self.adapters = {
            name: OwnedAdapter(now=store.runtime.now, account=name, secret=secret)
            for name, secret in self.secrets.items()
        }
        for name in self.secrets:
            self.put_secret(name, token=name)
        self.restart()

    def put_secret(self, name, **fields):
        """Put a secret in place, as an operator does beside a running daemon."""
        (self.folder / name).write_text(json.dumps(fields))

    def restart(self):
        """Forget all that is not in the database."""
        self.credentials = CredentialCheck(
            store=self.store, adapters=self.adapters, secrets=self.secrets
        )

    async def send(self):
        await self.store.maintenance.run()
        await send_due(self.store, self.adapters, 10, asyncio.Event(), self.credentials)

    async def post(self, name, accounts=("a",), **facts):
        await enqueue_posts(
            self.store.posts,
            make_post(name, accounts, self.store.runtime.now(), title=name, **facts),
        )
        await self.send()

    async def delivery(self, post, account="a"):
        found = await self.store.queries.deliveries(post=PostId(post))
        return next(item for item in found if item.account == account)


@pytest.fixture
async def stage(open_store, tmp_path):
    return CredentialScene(
        await open_store(make_policy("a"), make_policy("b")), tmp_path
    )


async def test_f98_the_secret_of_another_account_publishes_nothing(stage):
    """An account with a foreign secret is paused with an alert, and its post waits unsent.

    The post goes out once the secret is put right.
    """
    stage.put_secret("a", token="b")
    await stage.post("p", ["a", "b"])
    assert (stage.adapters["a"].published, stage.adapters["b"].published) == (
        [],
        [("b", "p")],
    )
    waiting = await stage.delivery("p")
    assert (waiting.state, waiting.attempts) == (State.DUE, 0)
    [alert] = [
        alert
        for alert in await stage.store.queries.alerts()
        if alert.code == "account_paused"
    ]
    assert (alert.facts["account"], alert.facts["reason"], alert.facts["said"]) == (
        "a",
        "other_owner",
        "b",
    )
    stage.put_secret("a", token="a")
    await stage.store.actions.resume("account:a", LI)
    stage.store.runtime.advance_time(timedelta(minutes=1))
    await stage.send()
    assert stage.adapters["a"].published == [("a", "p")]
    assert (await stage.delivery("p")).state is State.PUBLISHED


async def test_f98_a_secret_that_is_replaced_later_is_asked_for_again(stage):
    """Also in a running daemon: the next post never appears on the other account."""
    await stage.post("p")
    stage.put_secret("a", token="b")
    await stage.post("q", is_urgent=True)
    assert stage.adapters["a"].published == [("a", "p")]
    assert (await stage.delivery("q")).attempts == 0


async def test_f98_resuming_an_account_does_not_vouch_for_its_secret(stage):
    """A resume with the secret still wrong publishes nothing and pauses the account again."""
    stage.put_secret("a", token="b")
    await stage.post("p")
    for _ in range(2):
        await stage.store.actions.resume("account:a", LI)
        stage.store.runtime.advance_time(timedelta(minutes=1))
        await stage.send()
        assert [pause.scope for pause in await stage.store.queries.pauses()] == [
            "account:a"
        ]
    assert stage.adapters["a"].published == []


async def test_each_secret_is_asked_for_once_also_across_restarts(stage):
    """One call for each account, none after a restart, one more once the secret is a new one."""
    await stage.post("p", ["a", "b"])
    await stage.post("q", ["a", "b"])
    stage.restart()
    await stage.post("r", ["a", "b"])
    assert [adapter.checks for adapter in stage.adapters.values()] == [1, 1]
    stage.put_secret("a", token="a", renewed="1")
    await stage.post("s", ["a", "b"])
    assert [adapter.checks for adapter in stage.adapters.values()] == [2, 1]


async def test_a_regular_check_of_a_login_vouches_for_its_secret(stage):
    """No post has to wait for a secret that the daemon has checked at its start."""
    assert (
        await check_logins_due(stage.store, stage.adapters, 10, stage.credentials) == 2
    )
    await stage.post("p", ["a", "b"])
    assert [adapter.checks for adapter in stage.adapters.values()] == [1, 1]


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (Unknown(reason="timeout"), State.RETRYING, "timeout"),
        (RateLimited(code="limit", until=None), State.RETRYING, "rate_limited"),
        (CredentialExpired(reason="expired"), State.RETRYING, "expired"),
    ],
    ids=["no answer", "rate limit", "expired"],
)
async def test_a_check_that_cannot_be_made_sends_nothing_and_is_repeated(
    stage, answer, state, reason
):
    """F98: the post waits with the reason, like a post that could not be sent.

    It goes out with the next try.
    """
    stage.adapters["a"].answers.append(answer)
    await stage.post("p")
    waiting = await stage.delivery("p")
    assert (waiting.state, waiting.reason, stage.adapters["a"].published) == (
        state,
        reason,
        [],
    )
    stage.store.runtime.advance_time(timedelta(minutes=10))
    await stage.send()
    assert stage.adapters["a"].published == [("a", "p")]


async def test_f98_an_inconclusive_check_is_not_repeated_for_each_delivery(stage):
    """F98: an inconclusive check counts for all deliveries until the first readback is due.

    It counts for no other secret.
    """
    stage.adapters["a"].answers += [Unknown(reason="server_error")] * 3
    for name in ("p", "q", "r"):
        await stage.post(name)
    assert (stage.adapters["a"].checks, (await stage.delivery("r")).reason) == (
        1,
        "server_error",
    )
    stage.put_secret("a", token="a", renewed="1")
    await stage.post("s")
    assert stage.adapters["a"].checks == 2
    stage.store.runtime.advance_time(stage.store.policies["a"].timing.first_check_after)
    await stage.send()
    assert stage.adapters["a"].checks == 3


@pytest.mark.long
async def test_f98_a_check_that_never_succeeds_ends_with_the_deadline_and_is_told(
    stage,
):
    """A post is tried within its deadlines, and expires at their end with an alert."""
    stage.adapters["a"].answers += [Unknown(reason="timeout")] * 1000
    await stage.post("p", expires_at=START_TIME + timedelta(hours=2))
    for _ in range(30):
        stage.store.runtime.advance_time(timedelta(minutes=5))
        await stage.send()
    assert ((await stage.delivery("p")).state, stage.adapters["a"].published) == (
        State.EXPIRED,
        [],
    )
    assert any(
        alert.code.startswith("expired.")
        for alert in await stage.store.queries.alerts()
    )


async def test_f98_the_secret_that_was_asked_for_is_the_one_that_is_used(stage):
    """The post goes out with the verified secret, though it is replaced meanwhile.

    The replacement comes while the platform answers.
    """

    def replace_secret():
        stage.put_secret("a", token="b")
        return Healthy()

    stage.adapters["a"].answers.append(replace_secret)
    await stage.post("p")
    assert stage.adapters["a"].published == [("a", "p")]
    await stage.post("q")
    # the new one was asked for, and is not used
    assert stage.adapters["a"].published == [("a", "p")]


async def test_f98_a_secret_that_is_replaced_right_before_the_instant_is_not_used(
    stage, runtime, monkeypatch
):
    """A post is prepared with its secret up to two seconds ahead.

    A secret put in place after that comes too late for it.
    """

    async def replace_secret(_runtime, instant):
        stage.put_secret("a", token="b")
        runtime.advance_time(instant - runtime.clock)

    monkeypatch.setattr(FakeRuntime, "sleep_until", replace_secret)
    await enqueue_posts(
        stage.store.posts,
        make_post("p", ["a"], START_TIME + timedelta(seconds=1), title="p"),
    )
    await stage.send()
    assert stage.adapters["a"].published == [("a", "p")]


async def test_manual_accounts_are_never_asked(stage):
    """Where people post, a missing or foreign secret concerns nobody."""
    await stage.store.actions.set_mode("a", Mode.ASSISTED, LI, "phone")
    stage.put_secret("a", token="b")
    await stage.post("p")
    assert (stage.adapters["a"].checks, (await stage.delivery("p")).state) == (
        0,
        State.SUBMITTED,
    )


async def test_a_secret_that_cannot_be_read_sends_nothing(stage):
    """Its source is away for now: the post waits and says so."""
    (stage.folder / "a").write_text("x" * (MAX_SECRET_BYTES + 1))
    await stage.post("p")
    assert ((await stage.delivery("p")).reason, stage.adapters["a"].published) == (
        "secret_unreadable",
        [],
    )


async def test_no_value_of_a_secret_is_stored(stage):
    """The hash is keyed by the database: the same secret has another one elsewhere."""
    stage.put_secret("a", token="a", app_secret="canary-7f3a")
    await stage.post("p")
    state = await stage.store.login_health.read_secret_state(
        stage.store.policies["a"].account
    )
    assert len(state.verified) == 64
    content = await stage.store.database.read(
        lambda connection: list(connection.exec_driver_sql("SELECT * FROM credential"))
    )
    assert "canary" not in repr(content)


async def test_f97_two_spellings_of_one_account_are_recognised_by_what_the_platform_reports(
    stage,
):
    """The second one is paused before its first call, with the id of the first in the alert."""
    for adapter in stage.adapters.values():
        adapter.answers.append(Healthy(identity="portrait"))
    await stage.post("p", ["a"])
    await stage.post("q", ["b"])
    assert (stage.adapters["a"].published, stage.adapters["b"].published) == (
        [("a", "p")],
        [],
    )
    [alert] = [
        alert
        for alert in await stage.store.queries.alerts()
        if alert.code == "account_paused"
    ]
    assert (alert.facts["account"], alert.facts["reason"], alert.facts["said"]) == (
        "b",
        "same_account",
        "a",
    )
    assert (await stage.delivery("q", "b")).attempts == 0


async def test_f97_two_spellings_are_also_found_by_the_regular_check(stage):
    """Before any post, by the checks at the start."""
    for adapter in stage.adapters.values():
        adapter.answers.append(Healthy(identity="portrait"))
    await check_logins_due(stage.store, stage.adapters, 10, stage.credentials)
    [pause] = await stage.store.queries.pauses()
    assert pause.reason == "same_account"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "secret_missing"),
        ("no JSON", "secret_not_json"),
        ('{"BDUSS": "x"}', "secret_fields_missing"),
    ],
    ids=["missing", "broken", "fields of another platform"],
)
async def test_f43_a_secret_that_cannot_work_is_named_and_no_platform_is_asked(
    stage, text, reason
):
    """F43: a missing, broken or foreign secret is named as that, not as a refused sign-in."""
    secret = stage.secrets["a"]
    secret.needed_fields = ("token",)
    (stage.folder / "a").unlink()
    if text is not None:
        (stage.folder / "a").write_text(text)
    health = await stage.credentials.check_health("a", timedelta(seconds=1))
    async with stage.credentials.verified("a") as refusal:
        assert refusal == health == CredentialExpired(reason=reason)
    assert stage.adapters["a"].checks == 0
