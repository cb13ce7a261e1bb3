"""A race: people approve, edit, rewrite, unapprove, cancel and pause a post as it is sent.

Each round is one post on two accounts, and a few people at random moments, on connections of their
own. The audit shows whether an intent or an answer came first: its entries are in the order of the
transactions. The checker judges the approvals of each intent (I5). This module judges whether a
call follows an action that was answered as done.
"""

import argparse
import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy.engine import make_url

from publisher.domain.account import AccountId
from publisher.domain.approval import PRESET_CHAINS, ApprovalPreset, ApprovalRules
from publisher.domain.delivery import Actor, Role, WorkerId
from publisher.domain.errors import PublisherError
from publisher.domain.plan import Plan
from publisher.domain.post import OneTimeTrigger, Post, SendRequest
from publisher.domain.results import NotSent, Outcome, Published, Receipt
from publisher.engine.sender import INTENT_RECHECK_AFTER, may_start_call, send_due
from publisher.runtime.clock import Runtime
from publisher.store.db.database import Database, open_engine
from publisher.store.db.intent_journal import IntentJournal
from publisher.store.people.saves import PostSave
from publisher.store.plan.posts import PlanCommit
from publisher.store.recovery.setup import prepare_database
from publisher.store.store import Store
from publisher.testing.builders import (
    TEST_RATE_LIMIT,
    enqueue_posts,
    make_policy,
    make_post,
    make_rendered_delivery,
    unlimited_approver,
)
from publisher.testing.fakes import FakeAdapter, make_confirmed_runtime
from tests.chaos.checker.artefacts import Artefacts, Rows, rows_of_file, rows_of_server
from tests.chaos.checker.decoder import history_of
from tests.chaos.checker.verdict import judge_history
from tests.postgres_server import start_postgres

ROUNDS = 200
ACCOUNTS = ("a", "b")
AUTHOR, APPROVERS, EDITOR, MOVER = "zhang", ("li", "wang", "chen"), "ops", "sun"
CHAIN = PRESET_CHAINS[ApprovalPreset.TWO_PERSONS]
RULES = ApprovalRules(by_kind={"warning": CHAIN})
LIMIT = replace(TEST_RATE_LIMIT, per_hour=10**6, per_day=10**6)
FIRST_SPREAD_SECONDS = 0.04
"""Seconds around a post's instant for people's actions, until the time of a send is known."""
SLOW_CONNECTION_SECONDS = INTENT_RECHECK_AFTER.total_seconds() + 0.1
"""Seconds from an intent to a late call. It must ask again whether it may begin."""
STOPS = {"cancel": "cancelled", "pause": "paused"}
"""The actions that forbid any later call, and their entries in the audit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunCall:
    """A call that has begun: its time, its intent, and the time of its last permission check."""

    asked_at: float
    at: float
    post: str
    delivery: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer to a person, and its time.

    `sent_before` is the number of calls already on the way, by the answer itself.
    """

    kind: str
    post: str
    at: float
    is_done: bool
    sent_before: int = 0


@dataclass(slots=True)
class RacingAdapter(FakeAdapter):
    """A platform that counts calls.

    It asks first whether they may still begin, as the HTTP client does.
    """

    store: Store = field(kw_only=True)
    dice: Random = field(kw_only=True)
    begun: list[BegunCall] = field(kw_only=True)

    async def publish(self, request: SendRequest) -> Outcome:
        delays = (
            0.0,
            self.dice.uniform(0, FIRST_SPREAD_SECONDS),
            SLOW_CONNECTION_SECONDS,
        )
        await asyncio.sleep(self.dice.choices(delays, [6, 3, 1])[0])  # the race itself
        asked_at = time.monotonic()
        if not await may_start_call(self.store.outbox, request):
            return NotSent(reason="stopped")
        post, number = request.rendered.title.split()[0], len(self.begun)
        self.begun.append(
            BegunCall(
                asked_at=asked_at,
                at=time.monotonic(),
                post=post,
                delivery=request.delivery,
                attempt=request.attempt,
            )
        )
        receipt = Receipt(
            remote_id=f"{request.account}-{number}",
            url="https://fake.example",
            published_at=self.now(),
        )
        return Published(receipt=receipt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """The findings of a race, its answers, and its calls."""

    findings: Sequence[str]
    answers: Sequence[Answer]
    calls: Sequence[BegunCall]

    @property
    def counts(self) -> Mapping[str, int]:
        """Counts of actions done and refused, and of posts sent to both accounts, one or none."""
        done = Counter(
            f"{one.kind} {'done' if one.is_done else 'refused'}" for one in self.answers
        )
        calls = Counter(call.post for call in self.calls)
        sent = Counter(
            f"sent to {calls[post]}" for post in {one.post for one in self.answers}
        )
        return dict(sorted((done + sent).items()))


@dataclass(slots=True, kw_only=True)
class Racers:
    """The sender and the people, each on connections of their own."""

    sender: Store
    people: Store
    dice: Random = field(default_factory=Random)
    answers: list[Answer] = field(default_factory=list)
    calls: list[BegunCall] = field(default_factory=list)
    spread: float = FIRST_SPREAD_SECONDS
    """Seconds for people's actions.

    It is twice the recent time to make a post due and send it.
    """

    async def run_round(self, number: int) -> None:
        """File a post that is due now, and let everybody act on it at once until nobody is left."""
        dice, name = self.dice, f"r{number:04d}"
        post = make_post(
            name, ACCOUNTS, self.people.runtime.now(), title=f"{name} 警惕诈骗"
        )
        await enqueue_posts(self.people.posts, post)
        for person in APPROVERS[: dice.choice([1, 2, 2])]:
            await self.approve(post, person)
        acts: list[Callable[[Post], Awaitable[object]]] = [self.approve, self.approve]
        changes = [self.edit, self.rewrite, self.unapprove, self.cancel, self.pause]
        acts += dice.sample(changes, dice.choice([0, 1, 1, 1, 2, 4]))
        people = [asyncio.create_task(self._act(act, post)) for act in acts]
        await self._send_until(people)
        await asyncio.gather(*people)
        await self.people.actions.cancel_post(
            post.id, _person("cleaner"), "the round is over"
        )

    async def _act(self, act: Callable[[Post], Awaitable[object]], post: Post) -> None:
        await asyncio.sleep(self.dice.uniform(0, self.spread))  # the race itself
        await act(post)

    async def _send_until(self, people: Sequence["asyncio.Task[None]"]) -> None:
        """Do the daemon's work until people have done all their actions, and once more."""
        adapter = RacingAdapter(
            now=self.sender.runtime.now,
            store=self.sender,
            dice=self.dice,
            begun=self.calls,
        )
        adapters = {AccountId(name): adapter for name in ACCOUNTS}
        is_over = False
        while not is_over:
            is_over = all(one.done() for one in people)
            began, before = time.monotonic(), len(self.calls)
            await self.sender.maintenance.promote_due()
            await send_due(self.sender, adapters, len(ACCOUNTS), asyncio.Event())
            if len(self.calls) > before:
                begun = min(call.at for call in self.calls[before:])
                self.spread = (3 * self.spread + 2 * min(begun - began, 1.0)) / 4
            await asyncio.sleep(0.001)  # people act meanwhile

    async def approve(self, post: Post, person: str | None = None) -> None:
        """Look at the text as it is, and say yes to it a moment later."""
        by = person or self.dice.choice(APPROVERS)

        async def act() -> int:
            tasks = await self.people.approvals.tasks(post.id)
            shown = tasks[0].status.fingerprint if tasks else "0" * 64
            if person is None:
                await asyncio.sleep(
                    self.dice.uniform(0, self.spread / 4)
                )  # the person reads
            approver = unlimited_approver(by)
            await self.people.approvals.approve(post.id, shown, approver, _person(by))
            return 0

        await self._answer("approve", post, act)

    async def edit(self, post: Post, by: str | None = None, **changes: Any) -> None:
        """Save another text, as an editor does, or as a named person in the dashboard."""

        async def act() -> int:
            words = {
                "title": f"{post.title}（改）",
                "content_hash": f"{post.content_hash}/edited",
            }
            changed = replace(post, **(changes or words))
            assert isinstance(changed.trigger, OneTimeTrigger)
            assert changed.trigger.at is not None
            draft = make_rendered_delivery(changed, changed.trigger.at, is_new=False)
            commit = PlanCommit(
                plan=Plan(planned=(draft.planned,)), rendered=[draft], posts=[changed]
            )
            if by is None:
                commit = replace(commit, file_owner=EDITOR)
            else:
                text = f"{post.id} by {by}"
                saved = PostSave(
                    id=post.id,
                    members=[changed],
                    text=text,
                    base_text="",
                    base_version=0,
                    fields=["title"],
                )
                await self.people.saves.record(saved, _person(by))
                commit = replace(commit, schedule_text=text)
            await self.people.posts.commit_plan(commit)
            return 0

        await self._answer("edit", post, act)

    async def rewrite(self, post: Post) -> None:
        """Let an approver write the words, and another person change the date in them.

        Two people approve, and one is the writer.
        """
        rewriter, other = self.dice.sample(APPROVERS, 2)
        words = {
            "title": f"{post.title}（重写）",
            "content_hash": f"{post.content_hash}/rewritten",
        }
        moved = {name: f"{text}（改期）" for name, text in words.items()}
        await self.edit(post, rewriter, **words)
        await self.edit(post, MOVER, **moved)
        await self.approve(post, rewriter)
        await self.approve(post, other)

    async def unapprove(self, post: Post) -> None:
        async def act() -> int:
            result = await self.people.approvals.unapprove(
                post.id, None, _person("li"), "wrong number"
            )
            return result.sent_before

        await self._answer("unapprove", post, act)

    async def cancel(self, post: Post) -> None:
        async def act() -> int:
            stopped = await self.people.actions.cancel_post(
                post.id, _person("wang"), "not wanted"
            )
            return len(post.accounts) - stopped

        await self._answer("cancel", post, act)

    async def pause(self, post: Post) -> None:
        async def act() -> int:
            await self.people.actions.pause(f"post:{post.id}", _person("chen"), "wait")
            return 0

        await self._answer("pause", post, act)

    async def _answer(
        self, kind: str, post: Post, act: Callable[[], Awaitable[int]]
    ) -> None:
        """Note the answer to a person, and its time."""
        try:
            sent_before, is_done = await act(), True
        except PublisherError:
            sent_before, is_done = 0, False
        at = time.monotonic()
        self.answers.append(
            Answer(
                kind=kind, post=post.id, at=at, is_done=is_done, sent_before=sent_before
            )
        )


def _person(name: str) -> Actor:
    return Actor(role=Role.PERSON, name=name)


async def race(
    url: str,
    folder: Path,
    *,
    rounds: int,
    seed: int,
    after_round: Callable[[int], None] = int,
) -> Race:
    """Run so many rounds on an empty database, and judge them."""
    async with _racers(url, folder) as racers:
        for number in range(1, rounds + 1):
            racers.dice = Random(f"{seed}/{number}")  # noqa: S311 # repeatable on purpose
            await racers.run_round(number)
            after_round(number)
    rows = _read_rows(url)
    return Race(
        findings=[*_unapproved(rows), *_too_late(rows, racers)],
        answers=racers.answers,
        calls=racers.calls,
    )


@contextlib.asynccontextmanager
async def _racers(url: str, folder: Path) -> AsyncIterator[Racers]:
    runtime, journal = make_confirmed_runtime(), folder / "intents.jsonl"
    await prepare_database(url, "drill", journal, runtime)
    policies = {
        AccountId(name): make_policy(name, rate_limit=LIMIT) for name in ACCOUNTS
    }

    def open_one(
        worker: str, own_journal: IntentJournal | None, own_runtime: Runtime
    ) -> Store:
        database = Database(open_engine(url), own_runtime, own_journal)
        return Store(
            database=database,
            policies=policies,
            worker=WorkerId(worker),
            approval_rules=RULES,
        )

    sender = open_one("sender", IntentJournal(journal), runtime)
    people = open_one("people", None, runtime)
    try:
        await sender.posts.register_logins()
        await sender.outbox.preload()
        yield Racers(sender=sender, people=people)
    finally:
        await people.database.close()
        await sender.database.close()


def _read_rows(url: str) -> Rows:
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        return rows_of_file(Path(str(address.database)))
    return rows_of_server(
        address.set(drivername="postgresql").render_as_string(hide_password=False)
    )


def _unapproved(rows: Rows) -> Iterator[str]:
    """Have the checker judge the approvals of every intent."""
    stages = [{"name": stage.name, "people": stage.people} for stage in CHAIN]
    settings = {
        "stages": {"warning": stages},
        "approvers": {name: [] for name in APPROVERS},
    }
    duties = [
        {
            "post": row["post"],
            "occurrence": "once",
            "account": row["account"],
            "author": AUTHOR,
        }
        for row in rows["delivery"]
    ]
    found = Artefacts(
        rows=rows, documents={"settings": settings, "plan": {"duties": duties}}
    )
    finding = judge_history(history_of(found)).of("I5")
    yield from ([f"I5 was not judged: {finding.why_not}"] if finding.why_not else [])
    yield from (f"I5: {violation}" for violation in finding.violations)


def _too_late(rows: Rows, racers: Racers) -> Iterator[str]:
    """Yield the calls that follow an answer that no call will follow."""
    names = {row["id"]: f"{row['post']}@{row['account']}" for row in rows["delivery"]}
    intents = _intents(rows)
    entries = {
        (row["event"], row["subject"]): row["id"] for row in reversed(rows["audit"])
    }
    by_post: dict[str, list[BegunCall]] = {}
    for call in racers.calls:
        by_post.setdefault(call.post, []).append(call)
    for answer in (one for one in racers.answers if one.is_done):
        after = [call for call in by_post.get(answer.post, ()) if call.at > answer.at]
        if answer.kind == "unapprove":
            entry = entries["unapproved", answer.post]
            under_way = [
                call
                for call in after
                if intents[names[call.delivery], call.attempt] < entry
            ]
            if len(under_way) > answer.sent_before:
                yield (
                    f"{answer.post}: {len(under_way)} calls after an unapprove "
                    f"that counted {answer.sent_before}"
                )
        if answer.kind == "cancel" and len(after) > answer.sent_before:
            yield (
                f"{answer.post}: {len(after)} calls after a cancellation "
                f"that left {answer.sent_before}"
            )
        if answer.kind in STOPS:
            scope = answer.post if answer.kind == "cancel" else f"post:{answer.post}"
            entry = entries[STOPS[answer.kind], scope]
            for call in after:
                name = names[call.delivery]
                late = call.asked_at - answer.at
                if intents[name, call.attempt] > entry:
                    yield f"{name}: an intent was written after the {answer.kind} was answered"
                elif late > INTENT_RECHECK_AFTER.total_seconds():
                    yield (
                        f"{name}: a call that asked {late:.2f} s after the {answer.kind} "
                        "was allowed"
                    )


def _intents(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Mapping[tuple[str, int], int]:
    """Return the number of the audit entry of each intent, by delivery and attempt."""
    counted: Counter[str] = Counter()
    found = {}
    for row in (row for row in rows["audit"] if row["event"] == "attempt_started"):
        counted[row["subject"]] += 1
        found[row["subject"], counted[row["subject"]]] = row["id"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="race", description="Let people and the sender race, and judge what left."
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="publisher-race-"))
    began = time.monotonic()

    def report(number: int) -> None:
        if number % 20 == 0:
            sys.stderr.write(f"{number:5} rounds, {time.monotonic() - began:.0f} s\n")

    with _database(options.database, folder) as url:
        result = asyncio.run(
            race(
                url,
                folder,
                rounds=options.rounds,
                seed=options.seed,
                after_round=report,
            )
        )
    shutil.rmtree(folder)
    lasted = timedelta(seconds=round(time.monotonic() - began))
    lines = [f"VIOLATION  {finding}" for finding in result.findings]
    lines.append(
        f"{options.rounds} rounds on {options.database}, seed {options.seed}, {lasted}"
    )
    lines += [f"  {number:5} {what}" for what, number in result.counts.items()]
    lines.append(f"{len(result.calls)} calls, {len(result.findings)} violations")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(bool(result.findings))


@contextlib.contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'race.db'}"
        return
    server = start_postgres(folder / "postgres", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
