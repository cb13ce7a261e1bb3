"""Changes by people during a campaign: slips in files, later corrections, and swapped accounts.

Each kind of change is a generator that yields the seconds until it goes on. It has posts of its
own, so that nobody else touches them. Meanwhile new urgent warnings are written into the same file.
No slip may keep one of them back.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from tests.chaos.findings import CampaignFinding
from tests.chaos.publisher_process import SLOWEST
from tests.chaos.store_reader import CALLED_FIRST, STATES_OF, TRIED_OF
from tests.chaos.workspace import SPARE, URGENT, CampaignAccount, WrittenPost

if TYPE_CHECKING:
    from tests.chaos.campaign import Campaign

Change = Callable[["CampaignChanges"], Iterator[float]]

FIRST_NUMBER = 7001
"""The number of the first post of these, above all others."""
GLANCE_SECONDS = 0.3
SPACING_SECONDS = 4.0
"""Seconds from the beginning of one change to that of the next."""
DUE_AFTER, SOON = timedelta(seconds=25), timedelta(seconds=2)
"""Time from the writing of a post to its instant: with a slip before it, and with an open call."""
ACCOUNTS_OF_ONE = 3
SLIP_SECONDS = (3.0, 9.0)
PATIENCE_SECONDS = 30.0
"""Longest wait for a post's planning or call, in seconds. A daemon lives for two or three."""
MAX_TRIES = 3
LIVES = 2
"""Starts of a daemon that a change of the settings lasts for at least: they are read at a start."""
URGENT_EVERY = (8.0, 14.0)
URGENT_SECONDS = 60.0
"""Seconds from a save of the file until an urgent warning must be called, despite all deaths.

On a slow host the limit is longer.
"""
FOREIGN = "1499999999"
"""The identity of an account that is none of ours."""
FAR = timedelta(days=30)
LONG_AGO = timedelta(hours=7)
"""Longer than any post of a campaign may be late."""


@dataclass(slots=True)
class CampaignChanges:
    """All people that change files, and the campaign's final questions about the changes."""

    campaign: "Campaign"
    dice: Random
    urgent_posts: dict[str, float] = field(default_factory=dict)
    """When each urgent warning was written into the file, by its id."""
    done: list[str] = field(default_factory=list)
    is_over: bool = False
    is_spare_free: bool = True
    """False while the account that changes hands is another's."""
    _number: int = FIRST_NUMBER
    _thread: threading.Thread | None = None
    _errors: list[Exception] = field(default_factory=list)

    # --- the people's time ---

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """Let them act meanwhile; in the end everything that is not right yet is put right."""
        self._thread = threading.Thread(target=self._act, name="changes")
        self._thread.start()
        try:
            yield
        finally:
            self.is_over = True
            self._thread.join()
        if self._errors:
            raise self._errors[0]

    def _act(self) -> None:
        try:
            self._act_until_over()
        except Exception as error:  # noqa: BLE001 # the campaign raises it
            self._errors.append(error)

    def _act_until_over(self) -> None:
        names = self.dice.sample(list(CHANGES), len(CHANGES))
        self.campaign.platforms.add_account(self.foreign)
        now = time.monotonic()
        turns: list[tuple[float, str, Iterator[float]]] = [
            (now, "urgent", self._write_urgent_posts())
        ]
        for place, name in enumerate(names):
            turns.append((now + place * SPACING_SECONDS, name, CHANGES[name](self)))
        while turns and not (
            self.is_over and all(name == "urgent" for _at, name, _change in turns)
        ):
            turns.sort(key=lambda turn: turn[0])
            at, name, change = turns.pop(0)
            if not self.is_over:
                # others' databases are looked at
                time.sleep(max(0.0, min(at - time.monotonic(), GLANCE_SECONDS)))
            if at > time.monotonic() and not self.is_over:
                turns.append((at, name, change))
                continue
            if (pause := next(change, None)) is not None:
                turns.append((time.monotonic() + pause, name, change))

    def until(self, is_so: Callable[[], object]) -> Iterator[float]:
        """Wait until something is so, as long as patience lasts."""
        end = time.monotonic() + PATIENCE_SECONDS * self.campaign.publisher.slowness
        while not is_so() and time.monotonic() < end and not self.is_over:
            yield GLANCE_SECONDS

    def until_started(self) -> Iterator[float]:
        """Wait until daemons have started by the present settings, and lived a while."""
        publisher = self.campaign.publisher
        starts = publisher.starts + LIVES
        yield from self.until(lambda: publisher.starts >= starts)

    def until_spare_is_free(self) -> Iterator[float]:
        """Wait until the account that changes hands is not in use, and use it."""
        for _ in range(MAX_TRIES):
            yield from self.until(lambda: self.is_spare_free)
        self.is_spare_free = False

    def until_planned(self, post: str) -> Iterator[float]:
        yield from self.until(lambda: self.states(post))

    def until_open(self, post: str) -> Iterator[float]:
        yield from self.until(
            lambda: {"unknown", "submitted"} & self.states(post).keys()
        )

    def states(self, post: str) -> Mapping[str, int]:
        return dict(self.campaign.publisher.store.rows(STATES_OF.format(post=post)))

    def slip_seconds(self) -> float:
        return self.dice.uniform(*SLIP_SECONDS)

    # --- the files ---

    @property
    def foreign(self) -> CampaignAccount:
        return replace(self.spare, identity=FOREIGN)

    @property
    def spare(self) -> CampaignAccount:
        """The account that is swapped. Only posts of this module go to it."""
        return self.campaign.workspace.accounts[SPARE]

    def write_post(
        self, accounts: Sequence[str], after: timedelta = DUE_AFTER, **more: Any
    ) -> WrittenPost:
        """Write a new post into the file."""
        entry = WrittenPost(
            number=self._number, accounts=tuple(accounts), wave=-1, **more
        )
        self._number += 1
        entry.due = datetime.now(UTC) + after
        workspace = self.campaign.workspace
        with workspace.lock:
            workspace.entries.append(entry)
            workspace.written.append(entry)
            self.campaign.people.touched.add(entry.id)
            self.campaign.people.edited.add(entry.id)
            self.campaign.wanted |= {(entry.id, name): "published" for name in accounts}
            workspace.write()
        return entry

    def excuse(self, entry: WrittenPost) -> None:
        """Let a post that was tried during its slip end in the way that the slip demanded."""
        accounts = (*entry.accounts, *entry.left_out)
        self.campaign.wanted |= {
            (entry.id, name): "published|cancelled|expired" for name in accounts
        }

    def save(self) -> None:
        self.campaign.workspace.write()

    def swap(self, account: CampaignAccount) -> None:
        """Make the spare account another one in the settings, with its secret, or itself again."""
        workspace = self.campaign.workspace
        workspace.write_secret(SPARE, account)
        workspace.spare = account
        workspace.write_settings()

    def _write_urgent_posts(self) -> Iterator[float]:
        while not self.is_over:
            entry = self.write_post([URGENT], timedelta(0), urgent=True)
            self.urgent_posts[entry.id] = time.time()
            yield self.dice.uniform(*URGENT_EVERY)

    # --- what is found at the end ---

    def findings(self) -> Iterator[CampaignFinding]:
        """Yield changes that were never made, late urgent warnings, and foreign posts.

        A foreign post is one of ours on an account that is not ours.
        """
        for name in (name for name in CHANGES if name not in self.done):
            yield CampaignFinding(
                by="campaign", invariant="CHANGE", what=f"nobody got to {name}"
            )
        called = dict(self.campaign.publisher.store.rows(CALLED_FIRST))
        for post, saved_at in self.urgent_posts.items():
            called_at = called.get(post, float("inf")) / 1e6
            late = (
                called_at - saved_at - self._seconds_without_daemon(saved_at, called_at)
            )
            if late > URGENT_SECONDS * min(self.campaign.publisher.slowest, SLOWEST):
                yield CampaignFinding(
                    by="campaign",
                    invariant="URGENT",
                    what=f"{post} was kept back for {late:.0f} s",
                )
        theirs = [
            made
            for made in self.campaign.platforms.posts()
            if made["account"] == FOREIGN
        ]
        for made in theirs[1:]:
            yield CampaignFinding(
                by="campaign",
                invariant="I8",
                what=f"made on a foreign account: {made['text']}",
            )

    def _seconds_without_daemon(self, begins: float, ends: float) -> float:
        """Return for how many seconds between two instants the campaign let no daemon run."""
        return sum(
            max(0.0, min(ends, until) - max(begins, since))
            for since, until in self.campaign.outages
        )


def _slip(
    name: str, slip: Callable[[CampaignChanges, WrittenPost], Callable[[], None]]
) -> Change:
    """Return the change that makes a slip in a planned post, and then corrects it."""

    def change(changes: CampaignChanges) -> Iterator[float]:
        ordinary = changes.campaign.workspace.ordinary_accounts
        entry = changes.write_post(changes.dice.sample(ordinary, ACCOUNTS_OF_ONE))
        yield from changes.until_planned(entry.id)
        is_planned = bool(changes.states(entry.id))
        with changes.campaign.workspace.lock:
            put_right = slip(changes, entry)
            changes.save()
        yield changes.slip_seconds()
        with changes.campaign.workspace.lock:
            put_right()
            changes.save()
        if changes.campaign.publisher.store.count(TRIED_OF.format(post=entry.id)):
            changes.excuse(entry)
        if is_planned:
            changes.done.append(name)

    return change


def _delete(changes: CampaignChanges, entry: WrittenPost) -> Callable[[], None]:
    changes.campaign.workspace.struck.add(entry.id)
    return lambda: changes.campaign.workspace.struck.discard(entry.id)


def _leave_account_out(
    _changes: CampaignChanges, entry: WrittenPost
) -> Callable[[], None]:
    accounts = entry.accounts
    entry.accounts = accounts[1:]

    def put_right() -> None:
        entry.accounts = accounts

    return put_right


def _move(entry: WrittenPost, by: timedelta) -> Callable[[], None]:
    due = entry.due
    assert due is not None
    entry.due = due + by

    def put_right() -> None:
        entry.due = due

    return put_right


def _mistake_date(_changes: CampaignChanges, entry: WrittenPost) -> Callable[[], None]:
    return _move(entry, FAR)


def _move_into_past(
    _changes: CampaignChanges, entry: WrittenPost
) -> Callable[[], None]:
    return _move(entry, -LONG_AGO)


def _change_cron(changes: CampaignChanges) -> Iterator[float]:
    """The post that repeats each day is moved by an hour, and back."""
    yield from _break_cron(changes, "cron_moved", shift=1)


def _delete_cron(changes: CampaignChanges) -> Iterator[float]:
    """The post that repeats each day is deleted, and put back."""
    yield from _break_cron(changes, "cron_deleted", shift=None)


def _break_cron(
    changes: CampaignChanges, name: str, shift: int | None
) -> Iterator[float]:
    workspace = changes.campaign.workspace
    yield from changes.until(
        lambda: workspace.repeating_shift == 0
    )  # one slip at a time
    workspace.repeating_shift = shift
    changes.save()
    yield changes.slip_seconds()
    workspace.repeating_shift = 0
    changes.save()
    changes.done.append(name)


def _shrink_group(changes: CampaignChanges) -> Iterator[float]:
    """A group loses accounts in the settings, and regains them; a post names the group."""
    entry = changes.write_post(
        changes.campaign.workspace.group, DUE_AFTER, names_group=True
    )
    yield from changes.until_planned(entry.id)
    workspace = changes.campaign.workspace
    whole = workspace.group
    workspace.group = whole[:1]
    workspace.write_settings()
    yield from changes.until_started()
    workspace.group = whole
    workspace.write_settings()
    changes.done.append("group_shrunk")


def _make_urgent(changes: CampaignChanges) -> Iterator[float]:
    """A routine article with a lost answer is made urgent. Another interface sends urgent ones."""
    workspace = changes.campaign.workspace
    account = next(
        one for one in workspace.accounts.values() if one.platform == "wechat"
    )
    for _ in range(MAX_TRIES):
        changes.campaign.platforms.lose_next(account, "drop_after")
        entry = changes.write_post([account.id], SOON)
        yield from changes.until_open(entry.id)
        if {"unknown", "submitted"} & changes.states(entry.id).keys():
            entry.is_made_urgent = True
            changes.save()
            changes.done.append("made_urgent")
            break


def _swap_identity(changes: CampaignChanges) -> Iterator[float]:
    """The spare account becomes a foreign one while an outcome on it is open, and is corrected."""
    yield from changes.until_spare_is_free()
    for _ in range(MAX_TRIES):
        # what was never made stays open for longest
        changes.campaign.platforms.lose_next(changes.spare, "drop_before")
        entry = changes.write_post([SPARE], SOON)
        yield from changes.until_open(entry.id)
        if {"unknown", "submitted"} & changes.states(entry.id).keys():
            changes.swap(changes.foreign)
            yield from changes.until_started()
            changes.swap(changes.spare)
            changes.done.append("identity_swapped")
            break
    changes.is_spare_free = True


def _swap_secret(changes: CampaignChanges) -> Iterator[float]:
    """The spare account has the secret of another of ours while a post for it falls due."""
    workspace = changes.campaign.workspace
    yield from changes.until_spare_is_free()
    workspace.write_secret(SPARE, workspace.accounts[URGENT])
    entry = changes.write_post([SPARE], SOON)
    yield from changes.until_started()
    workspace.write_secret(SPARE, changes.spare)
    yield from changes.until(lambda: "published" in changes.states(entry.id))
    changes.is_spare_free = True
    changes.done.append("secret_swapped")


CHANGES: Mapping[str, Change] = {
    "deleted": _slip("deleted", _delete),
    "account_left_out": _slip("account_left_out", _leave_account_out),
    "date_mistaken": _slip("date_mistaken", _mistake_date),
    "moved_into_past": _slip("moved_into_past", _move_into_past),
    "cron_moved": _change_cron,
    "cron_deleted": _delete_cron,
    "group_shrunk": _shrink_group,
    "made_urgent": _make_urgent,
    "identity_swapped": _swap_identity,
    "secret_swapped": _swap_secret,
}
"""Each kind of change; a large campaign has every one."""
