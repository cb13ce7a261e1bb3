"""The users of a campaign: an administrator, an operator, and two approvers with tokens."""

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from publisher.app.open_store import open_store
from publisher.config import load_settings
from publisher.domain.post import PostId
from publisher.engine.decisions import named_person
from publisher.runtime.clock import Runtime
from publisher.store.people.saves import PostSave
from tests.chaos.people import ADMIN, APPROVERS, PASSWORD, REWRITER, USERS
from tests.chaos.publisher_process import DaemonError, PublisherProcess

GLANCE_SECONDS, RETRY_SECONDS = 0.5, 5.0
"""Seconds between two looks at the waiting texts, and until a refused approval is tried again."""
LINK = re.compile(r"^http\S+/setup#[\w-]{43}$", re.MULTILINE)
WAITING = """SELECT t.post, t.occurrence, t.fingerprint FROM approvable_text t
WHERE EXISTS (SELECT 1 FROM delivery d WHERE d.post = t.post AND d.occurrence = t.occurrence
    AND d.state IN ('pending', 'due', 'claimed', 'retrying'))
ORDER BY (SELECT min(d.due_at) FROM delivery d
    WHERE d.post = t.post AND d.occurrence = t.occurrence), t.at DESC"""
"""All texts of waiting deliveries.

The database does not show the present text, as an edit may be taken back. An approval of another
text is refused.
"""
GIVEN = (
    "SELECT post, occurrence, fingerprint, person FROM approval WHERE ended_at IS NULL"
)
UNAPPROVABLE = """SELECT DISTINCT a.post FROM approval a
JOIN delivery d ON d.post = a.post AND d.occurrence = a.occurrence
WHERE a.ended_at IS NULL AND d.state IN ('pending', 'due', 'claimed', 'retrying')
AND a.post LIKE 'post-%'"""
"""Posts with an approval that can still be ended. Some of their deliveries may be on their way."""


def enrol(publisher: PublisherProcess) -> None:
    """Add the users by commands, and keep their tokens.

    The owner of the workspace adds the administrator; the administrator adds the others.
    """
    for name, (role, _scope) in USERS.items():
        by = () if name == ADMIN else ("--by", ADMIN)
        added = publisher.say("user", "add", name, "--role", role, *by, acts_as=ADMIN)
        publisher.say("user", "activate", lines=[*LINK.findall(added), PASSWORD])
        issue_token(publisher, name)


def issue_token(publisher: PublisherProcess, name: str) -> None:
    """Let a user sign in with the password, and keep the token for the user's tasks."""
    wanted = [word for permission in USERS[name][1] for word in ("--scope", permission)]
    publisher.tokens[name] = publisher.say(
        "user", "token", name, *wanted, lines=[PASSWORD]
    ).split()[-1]


async def record_save(
    publisher: PublisherProcess, post: str, by: str, text: str
) -> None:
    """Record a person's save of a post, as the dashboard does before the schedule gets the text."""
    async with open_store(await load_settings(publisher.folder), Runtime()) as store:
        stored = await store.posts.family_posts(post)
        save = PostSave(
            id=PostId(post),
            members=stored,
            text=text,
            base_text=text,
            base_version=0,
            fields=["title"],
        )
        await store.saves.record(save, named_person(by))


@dataclass(slots=True)
class Approvers:
    """Approve the waiting texts, each person separately, while daemons live and die."""

    publisher: PublisherProcess
    rewritten: set[str] = field(default_factory=set)
    """The posts that the rewriter has written before another person saved them."""
    is_over: threading.Event = field(default_factory=threading.Event)
    errors: list[DaemonError] = field(default_factory=list)

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """Let them act meanwhile. Raises DaemonError if one of their commands failed."""
        people = (*APPROVERS, REWRITER)
        threads = [
            threading.Thread(target=self._approve, args=(name,), name=name)
            for name in people
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.is_over.set()
            for thread in threads:
                thread.join()
        if self.errors:
            raise self.errors[0]

    def _approve(self, name: str) -> None:
        refused: dict[tuple[str, str, str], float] = {}
        while not self.is_over.wait(GLANCE_SECONDS):
            if name not in self.publisher.tokens:
                continue
            given = {
                row[:3] for row in self.publisher.store.rows(GIVEN) if row[3] == name
            }
            for row in self.publisher.store.rows(WAITING):
                key = (row[0], row[1], row[2])
                if name == REWRITER and key[0] not in self.rewritten:
                    continue
                if (
                    key in given
                    or refused.get(key, 0.0) > time.monotonic()
                    or self.is_over.is_set()
                ):
                    continue
                try:
                    if not self.publisher.approve(key[0], key[2], by=name):
                        refused[key] = time.monotonic() + RETRY_SECONDS
                except DaemonError as error:
                    self.errors.append(error)
                    return
