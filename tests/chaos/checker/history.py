"""The artefacts of a run as plain objects. Instants are seconds since 1970, of UTC."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

ENDED = frozenset({"retracted", "removed", "failed", "expired", "cancelled"})
"""States that nothing leads out of."""
MICRO = 1_000_000
EDGE = 120.0
"""Seconds around a time with a wrong clock that may hold a stamp made in it."""
BEFORE_CALL = frozenset({"pending", "due", "claimed", "retrying"})
ANY_TIME = "*"
"""The occurrence of a duty that stands for every instant of a repeating post."""


class NotJudgedError(Exception):
    """The artefacts at hand cannot show whether an invariant held; the message says why."""


MASS_SEND = "mass"
"""The method of an attempt that notified followers."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One violation: its subject, and the evidence (`log:SEQ`, `table:ID`, `file:LINE`)."""

    subject: str
    what: str
    evidence: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.subject}: {self.what} [{', '.join(self.evidence)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorLogEntry:
    """A line of the simulator's log. `call` is the `seq` of the call that it belongs to.

    `began` is when a request's head was there; `at`, when all of it was.
    """

    seq: int
    at: float
    began: float
    kind: str
    platform: str
    account: str
    endpoint: str | None = None
    post_id: str | None = None
    status: int | None = None
    fault: str | None = None
    call: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCopy:
    """A post on a platform. `thread` is set for a part; `text` is the received text."""

    id: str
    platform: str
    account: str
    created: float
    text: str = ""
    title: str = ""
    html: str = ""
    images: tuple[str, ...]
    is_removed: bool
    is_visible: bool
    state: str = ""
    thread: str | None
    is_rewritten: bool


def subject_of(post: str, label: str, account: str) -> str:
    """Return the name of a delivery in the audit and the alerts."""
    return f"{post}@{account}" if label == "once" else f"{post}#{label}@{account}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDelivery:
    id: int
    post: str
    label: str
    account: str
    platform: str
    login: str
    state: str
    version: int
    revision: str
    rendition: str
    due: float
    expires: float
    max_delay: float
    updated: float
    next: float | None
    follows: str | None
    reason: str | None
    attempts: int
    remote_id: str | None
    has_ticket: bool
    is_manually_confirmed: bool
    is_urgent: bool = False
    kind: str = ""

    @property
    def subject(self) -> str:
        return subject_of(self.post, self.label, self.account)

    @property
    def row(self) -> str:
        return f"delivery:{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAttempt:
    """An intent. `part` is the number of its part of the thread. 0 is the post itself.

    `stamp` and `baseline` are `intended` and `since` in microseconds as the host wrote them.
    `until` is the end of the wait that a platform asked for. `identity` is the account on its
    platform at the intent. `method` is the word for the call. Both are None where a run does not
    name them.
    """

    id: int
    delivery: int
    number: int
    fencing_token: int
    login: str
    account: str
    rendition: str
    since: float
    intended: float
    ended: float | None
    outcome: str | None
    detail: Mapping[str, Any]
    stamp: int
    baseline: int
    until: float | None = None
    part: int = 0
    identity: str | None = None
    method: str | None = None

    @property
    def row(self) -> str:
        return f"attempt:{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedReadback:
    id: int
    delivery: int
    attempt: int
    at: float
    finding: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedAct:
    """An entry of the audit. `columns` are all its columns as they stand in the database."""

    id: int
    at: float
    role: str
    name: str
    event: str
    subject: str
    before: str | None
    after: str | None
    detail: Mapping[str, Any]
    columns: Mapping[str, Any]

    @property
    def row(self) -> str:
        return f"audit:{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAlert:
    id: int
    at: float
    code: str
    subject: str
    cleared: float | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    reopenings: int = 0
    is_settled: bool = False
    """True if the product has nothing more to say about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedNotice:
    """A notice of an alert to one channel, in the database. `next` is its due time or next try."""

    id: int
    key: str
    kind: str
    alert: int | None
    channel: str
    at: float
    next: float | None
    is_sent: bool
    ended: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A notice that a channel was asked to take."""

    line: int
    channel: str
    key: str
    at: float
    is_accepted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A rendition as it was frozen. `body` is its whole JSON."""

    fingerprint: str
    revision: str
    account: str
    marker: str
    title: str
    text: str
    pictures: tuple[str, ...]
    parts: tuple[str, ...]
    body: Mapping[str, Any]

    @property
    def has_title_apart(self) -> bool:
        """True if the title goes beside the text. A plain Weibo post has it in its text only."""
        return self.body["platform"] != "weibo" or self.text.lstrip().startswith("<")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleVersion:
    """An accepted version of the schedule."""

    id: int
    at: float
    sha256: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    account: str
    remote_id: str
    seen: float
    predates_monitoring: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A line of the journal; `line` is its number, `key` names its delivery where the line does.

    `stamp` is the instant of its attempt in microseconds, as the host wrote it.
    """

    line: int
    delivery: int
    attempt: int
    fencing_token: int
    rendition: str
    stamp: int
    part: int = 0
    key: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """One demand of the makers of the run. A value of None, 0 or empty was not given.

    `ends` are the permitted end states. `says` are words that must stand in its copy. With the
    occurrence `*` it stands for every instant of a repeating post, one each `every` seconds.
    """

    post: str
    occurrence: str
    account: str
    due: float | None = None
    expires: float | None = None
    max_delay: float | None = None
    ends: frozenset[str] = frozenset()
    every: float | None = None
    text_sha256: str | None = None
    says: tuple[str, ...] = ()
    images: tuple[str, ...] | None = None
    author: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.post, self.occurrence, self.account


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A failure time of a scope: `all`, `platform:P`, `account:A` or `post:P`."""

    scope: str
    begins: float
    ends: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongClock:
    """A time, by the right clock, with the hosts' clock `ahead` by so many seconds."""

    begins: float
    ends: float
    ahead: float


@dataclass(frozen=True, slots=True)
class Stamps:
    """Returns the true instants of stamps that hosts wrote by their own clocks.

    `instants` names the true instant of a column, by table and row. Where it is not known, a clock
    was wrong by more than a run lasts. Each stamp then reports its clock.
    """

    clocks: tuple[WrongClock, ...] = ()
    instants: Mapping[str, Mapping[str, Mapping[str, float]]] = field(
        default_factory=dict
    )

    def __call__(self, stamp: float) -> float:
        found = (
            one.ahead
            for one in self.clocks
            if one.begins - EDGE <= stamp - one.ahead <= one.ends + EDGE
        )
        return stamp - next(found, 0.0)

    def micros(self, stamp: int) -> float:
        return self(stamp / MICRO)

    def of(self, table: str, row: Mapping[str, Any], column: str) -> float:
        """Give the true instant of a column that is not empty."""
        key = str(row["id"] if "id" in row else row["remote_id"])
        known = self.instants.get(table, {}).get(key, {}).get(column)
        return self.micros(row[column]) if known is None else known

    def of_any(self, table: str, row: Mapping[str, Any], column: str) -> float | None:
        return None if row[column] is None else self.of(table, row, column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """A version of the schedule, its duties once accepted, and duties that it may file `later`."""

    sha256: str
    duties: frozenset[tuple[str, str, str]]
    later: frozenset[tuple[str, str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedPlan:
    duties: tuple[Duty, ...] = ()
    began: float | None = None
    faults_ended: float | None = None
    ended: float | None = None
    outages: tuple[Outage, ...] = ()
    clocks: tuple[WrongClock, ...] = ()
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonAction:
    """An action of a person: `asked` is the start of the command, `at` its return."""

    line: int
    kind: str
    asked: float
    at: float
    by: str
    scope: str | None = None
    post: str | None = None
    account: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """A time without work of a daemon: it was killed, frozen or stopped, or its clock was set."""

    at: float
    until: float
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A delivery that had ended before the run began, by its columns then and now."""

    id: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str, str]:
        return self.before["post"], self.before["occurrence"], self.before["account"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredStage:
    """A stage that a kind of post must pass: how many people must say yes at it."""

    name: str
    people: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvable:
    """A content that was shown for approval: the text of each account, and its writers."""

    post: str
    label: str
    fingerprint: str
    renditions: Mapping[str, str]
    barred: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPolicy:
    """The settings of one account. A limit of None is not known.

    `listed` is the number of its newest posts that a look shows, or None for all. `may_resend` is
    `"urgent"` where only an urgent post may be sent again after a proven absence.
    """

    account: str
    platform: str
    identity: str
    login: str
    min_interval: float | None = None
    per_hour: int | None = None
    per_day: int | None = None
    visibility_window: float | None = None
    review: float = 0.0
    may_resend: bool | str = True
    watch_every: float | None = None
    listed: int | None = None

    @property
    def hides_reviews(self) -> bool:
        """Whether the account's own list shows nothing that the platform still reviews."""
        return self.review > 0

    def allows_second(
        self, delivery: RecordedDelivery, first: RecordedAttempt | None = None
    ) -> bool:
        """True if a proven absence permits another call, given the method of the first one."""
        if self.may_resend != "urgent":
            return bool(self.may_resend)
        return (
            delivery.is_urgent
            if first is None or first.method is None
            else first.method == MASS_SEND
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """The settings apart from the accounts, and the precision of the judgement of a run.

    `tolerance` is the largest difference between two clocks, and between the edges of two
    processes. `clock_error` is the largest error of a clock that counts as right. `retry_after` is
    the wait that each 429 of the platforms asks for. `together` is the number of new deliveries
    that come into force in one transaction with their version.
    """

    accounts: Mapping[str, RecordedPolicy] = field(default_factory=dict)
    environment: str | None = None
    hosts: frozenset[str] = frozenset()
    tolerance: float = 0.25
    clock_error: float = 0.0
    retry_after: float | None = None
    together: int = 1000
    rest_within: float | None = None
    recover_within: float | None = None
    bounds: Mapping[str, float] = field(default_factory=dict)
    stages: Mapping[str, Sequence[RequiredStage]] = field(default_factory=dict)
    """The stages for each kind of post, in order. `default` applies to kinds without an entry."""
    approvers: Mapping[str, AbstractSet[str]] | None = None
    """The permitted approvers, and the stages of each if they are limited. None means unknown."""
    officers: AbstractSet[str] | None = None
    """The people that may release a post in an emergency."""

    def stages_of(self, kind: str) -> Sequence[RequiredStage]:
        return self.stages.get(kind, self.stages.get("default", ()))


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """A run. `given` names the artefacts that were there."""

    given: frozenset[str]
    log: Sequence[SimulatorLogEntry] = ()
    copies: Mapping[str, PublishedCopy] = field(default_factory=dict)
    deliveries: Mapping[int, RecordedDelivery] = field(default_factory=dict)
    attempts: Sequence[RecordedAttempt] = ()
    readbacks: Sequence[RecordedReadback] = ()
    audit: Sequence[AuditedAct] = ()
    alerts: Sequence[RecordedAlert] = ()
    notices: Sequence[RecordedNotice] = ()
    messages: Sequence[Message] = ()
    words: Mapping[str, Words] = field(default_factory=dict)
    versions: Sequence[ScheduleVersion] = ()
    media: Mapping[str, str] = field(default_factory=dict)
    sightings: Sequence[Sighting] = ()
    database_info: Mapping[str, str] = field(default_factory=dict)
    journal: Sequence[Intent] = ()
    journals_kept_since: Sequence[int] = ()
    """Instants in microseconds, as each host wrote them; 0 for none.

    A journal may have lost its older lines by compaction.
    """
    plan: ExpectedPlan = field(default_factory=ExpectedPlan)
    true: Stamps = field(default_factory=Stamps)
    actions: Sequence[PersonAction] = ()
    approvables: Sequence[Approvable] = ()
    interruptions: Sequence[Interruption] = ()
    earlier: Sequence[Earlier] = ()
    """Deliveries that ended before the run. They must stay ended, and appear nowhere else here."""
    status: Sequence[Mapping[str, Any]] = ()
    settings: RunSettings = field(default_factory=RunSettings)
    timings: Sequence[Mapping[str, Any]] = ()
    metrics: Sequence[Mapping[str, Any]] = ()
    connections: Sequence[Mapping[str, Any]] = ()
    anchors: Sequence[Mapping[str, Any]] = ()
    leaks: Sequence[tuple[str, str]] = ()
    """Canaries that were found: how the secret begins, and the file."""
    replay: "History | None" = None

    @cached_property
    def by_key(self) -> Mapping[tuple[str, str, str], RecordedDelivery]:
        return {
            (one.post, one.label, one.account): one for one in self.deliveries.values()
        }

    @cached_property
    def past(self) -> AbstractSet[tuple[str, str, str]]:
        """Deliveries that had ended before the run. Nothing is demanded of them."""
        return {one.key for one in self.earlier}

    @cached_property
    def attempts_of(self) -> Mapping[int, Sequence[RecordedAttempt]]:
        """Attempts by delivery, in the order of their numbers, without unknown deliveries."""
        known = [one for one in self.attempts if one.delivery in self.deliveries]
        return _grouped(sorted(known, key=lambda one: one.number), "delivery")

    @cached_property
    def readbacks_of(self) -> Mapping[int, Sequence[RecordedReadback]]:
        return _grouped(self.readbacks, "delivery")

    @cached_property
    def acts_on(self) -> Mapping[str, Sequence[AuditedAct]]:
        """The audit by subject, in its order, without deliveries that ended before."""
        past = {subject_of(*key) for key in self.past}
        return _grouped(
            [act for act in self.audit if act.subject not in past], "subject"
        )

    @cached_property
    def alerts_on(self) -> Mapping[str, Sequence[RecordedAlert]]:
        return _grouped(self.alerts, "subject")

    @cached_property
    def duties(self) -> Mapping[tuple[str, str, str], Duty]:
        return {duty.key: duty for duty in self.plan.duties}

    def duty_of(self, delivery: RecordedDelivery) -> Duty | None:
        """Return the delivery's own duty, or that of all instants of its post."""
        repeated = self.duties.get((delivery.post, ANY_TIME, delivery.account))
        is_its_instant = (
            repeated
            and repeated.every
            and _seconds_of(delivery.label) % repeated.every == 0
        )
        own = self.duties.get((delivery.post, delivery.label, delivery.account))
        return own or (repeated if is_its_instant else None)

    @property
    def is_exact(self) -> bool:
        """Whether the true instant of each row is known."""
        return "instants" in self.given

    def policy_of(self, delivery: RecordedDelivery) -> RecordedPolicy:
        """Return the settings of its account. Raises NotJudgedError if they do not name it."""
        if policy := self.settings.accounts.get(delivery.account):
            return policy
        raise NotJudgedError(
            f"settings.json does not name the account {delivery.account}"
        )

    def identity_of(self, delivery: RecordedDelivery) -> tuple[str, str]:
        """Give the platform and the account's own name there."""
        policy = self.settings.accounts.get(delivery.account)
        return delivery.platform, policy.identity if policy else delivery.account


def _seconds_of(label: str) -> float:
    """Give the instant that names an occurrence; one that has no instant divides by nothing."""
    try:
        return datetime.fromisoformat(label).timestamp()
    except ValueError:
        return float("nan")


def _grouped(items: Sequence[Any], name: str) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(getattr(item, name), []).append(item)
    return groups
