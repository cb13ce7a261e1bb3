"""Rules of the product broken on purpose while a context lasts: a run must notice."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select

from publisher.app import application
from publisher.domain import account, lifecycle
from publisher.domain.delivery import Delivery, Lease, LeaseExpired, StepContext
from publisher.domain.post import SendRequest
from publisher.store import notices
from publisher.store.db import database
from publisher.store.db.intent_journal import IntentJournal
from publisher.store.db.tables import ATTEMPT
from publisher.store.deliveries import cooldowns, intents
from publisher.store.deliveries.maintenance import Maintenance
from publisher.store.deliveries.outbox import Outbox
from publisher.store.monitor import monitor
from publisher.store.notices import NoticeStore
from tests.chaos import mutants
from tests.chaos.mutants.patch import Patch


def audit_entry_lost(patch: Patch) -> None:
    """Of several entries of one transaction the last is not written."""

    def append_entries(connection: Any, entries: Any) -> Any:
        return kept(connection, entries[:-1] if len(entries) > 3 else entries)

    kept = patch.put(database, "append_entries", append_entries)


def hour_is_a_minute(patch: Patch) -> None:
    """A login's calls of an hour are allowed in each minute."""
    patch.put(account, "HOUR", timedelta(minutes=1))


def no_check_before_first_byte(patch: Patch) -> None:
    """A recorded intent is sent, regardless of people's later commands."""

    async def may_start_call(_outbox: object, _request: object) -> bool:
        return True

    patch.put(application, "may_start_call", may_start_call)


def unsent_counts_in_quota(patch: Patch) -> None:
    """A call that never left spends the quota like any other."""
    day = (
        ATTEMPT.c.login.in_(bindparam("logins", expanding=True)),
        ATTEMPT.c.intended_at > bindparam("since"),
    )
    counts = select(
        ATTEMPT.c.login,
        func.count().label("number"),
        func.max(ATTEMPT.c.intended_at).label("newest"),
    )
    recent = select(ATTEMPT.c.login, ATTEMPT.c.intended_at).order_by(
        ATTEMPT.c.intended_at.desc()
    )
    patch.put(
        cooldowns, "_ATTEMPT_COUNTS", counts.where(*day).group_by(ATTEMPT.c.login)
    )
    patch.put(cooldowns, "_RECENT_ATTEMPTS", recent.where(*day))


def unjournalled_intent_expires(patch: Patch) -> None:
    """An intent that the journal refused is left alone.

    Its lease expires as if the daemon had crashed.
    """

    async def record_intent(
        outbox: Outbox, lease: Lease
    ) -> SendRequest | intents.Declined:
        return await outbox.database.write_batched(outbox._record_intents, lease)

    def lease_expiry_event(
        maintenance: Maintenance, delivery: Delivery
    ) -> LeaseExpired | None:
        event = kept(maintenance, delivery)
        return event and replace(event, has_worker_crashed=True)

    patch.put(Outbox, "record_intent", record_intent)
    kept = patch.put(Maintenance, "lease_expiry_event", lease_expiry_event)
    patch.put(IntentJournal, "can_append", lambda _journal: True)


def short_life_waits_for_review(patch: Patch) -> None:
    """A post that expires before the longest review ends is waited for.

    Only an urgent post is treated as unable to wait.
    """

    def needs_person(delivery: Delivery, context: StepContext) -> bool:
        return delivery.is_urgent and kept(delivery, context)

    kept = patch.put(lifecycle, "_needs_person_before_review_end", needs_person)


def one_deletion_report_believed(patch: Patch) -> None:
    """The first read that calls a watched post gone ends its delivery."""
    patch.put(
        monitor, "is_confirmed", lambda readbacks, says_so, _lag: says_so(readbacks[-1])
    )


def refused_notice_forgotten(patch: Patch) -> None:
    """A notice that its channel has not accepted counts as sent."""

    async def record_failure(
        notices: NoticeStore, channel: str, failed: Any, *_why: str, **_more: Any
    ) -> None:
        await notices.record_sent(channel, failed)

    patch.put(NoticeStore, "record_failure", record_failure)


def sent_notice_forgotten(patch: Patch) -> None:
    """That a channel has accepted a notice is not noted."""

    async def record_sent(*_facts: Any, **_more: Any) -> None:
        pass

    patch.put(NoticeStore, "record_sent", record_sent)


def each_return_is_new(patch: Patch) -> None:
    """A returning alert is reported as if it had never been there."""

    def next_notice(*facts: Any) -> Any:
        kind = kept(*facts)
        return (
            notices.NoticeKind.OPENED if kind is notices.NoticeKind.REPEATED else kind
        )

    kept = patch.put(notices, "next_notice", next_notice)


def end_not_reported(patch: Patch) -> None:
    """Nobody is notified that an alert is over."""

    def next_notice(*facts: Any) -> Any:
        kind = kept(*facts)
        return None if kind is notices.NoticeKind.CLOSED else kind

    kept = patch.put(notices, "next_notice", next_notice)


def notices_every_two_minutes(patch: Patch) -> None:
    """People are notified of alerts that are two minutes old."""
    late = timedelta(minutes=2)

    def next_notice(row: Any, rules: Any, now: datetime, *others: Any) -> Any:
        return kept(row, rules, now, *others) if now >= row["at"] + late else None

    kept = patch.put(notices, "next_notice", next_notice)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A broken rule, the promises it breaks, and the kind of storm that notices it.

    It breaks at least one of the promises. Without a kind, any storm notices it. Without a
    `function` it is one of the campaign's mutants. `seed` is the one that notices it soonest.
    """

    promises: frozenset[str]
    storm: str | None = None
    seed: int = 1
    function: Callable[[Patch], None] | None = None


def plant(name: str) -> Patch:
    """Plant a mutant until the context of the patch ends."""
    mutant = MUTANTS[name]
    if mutant.function is None:
        return mutants.plant(name.partition("/")[0])
    patch = Patch()
    mutant.function(patch)
    return patch


MUTANTS: Mapping[str, Mutant] = {
    "expired_lease_is_due": Mutant(promises=frozenset({"I1", "I7", "I12"}), seed=10),
    "one_readback_proves_absence": Mutant(promises=frozenset({"I1", "I7"}), seed=6),
    "newest_post_is_ours": Mutant(
        promises=frozenset({"I4", "I8"}), storm="lists", seed=12
    ),
    "audit_entry_lost": Mutant(
        promises=frozenset({"I12", "I18"}), function=audit_entry_lost
    ),
    "hour_is_a_minute": Mutant(
        promises=frozenset({"I15"}), seed=2, function=hour_is_a_minute
    ),
    "edit_of_unknown_ignored": Mutant(promises=frozenset({"I4"}), storm="edits"),
    "no_check_before_first_byte": Mutant(
        promises=frozenset({"I6", "I14", "I16"}),
        storm="slow",
        seed=16,
        function=no_check_before_first_byte,
    ),
    "all_missed_sent": Mutant(promises=frozenset({"I6"}), storm="outage"),
    "unsent_counts_in_quota": Mutant(
        promises=frozenset({"I6", "I9"}),
        storm="outage",
        seed=24,
        function=unsent_counts_in_quota,
    ),
    "unjournalled_intent_expires": Mutant(
        promises=frozenset({"I9"}), storm="full", function=unjournalled_intent_expires
    ),
    "clock_always_confirmed": Mutant(
        promises=frozenset({"I1", "I6", "I7", "I9"}), storm="clock", seed=3
    ),
    "one_deletion_report_believed": Mutant(
        promises=frozenset({"I8"}),
        storm="gone",
        seed=9,
        function=one_deletion_report_believed,
    ),
    "review_window_ignored": Mutant(
        promises=frozenset({"I1", "I7"}), storm="reviews", seed=2
    ),
    "short_life_waits_for_review": Mutant(
        promises=frozenset({"I9"}),
        storm="reviews",
        seed=4,
        function=short_life_waits_for_review,
    ),
    "review_window_ignored/changes": Mutant(
        promises=frozenset({"I1"}), storm="changes", seed=5
    ),
    "present_method_decides": Mutant(promises=frozenset({"I1"}), storm="changes"),
    "identity_not_compared": Mutant(promises=frozenset({"I8"}), storm="changes"),
    "another_id_accepted": Mutant(promises=frozenset({"I17"}), storm="changes", seed=3),
    "conflict_refuses_file": Mutant(
        promises=frozenset({"I22"}), storm="changes", seed=2
    ),
    "family_ids_not_compared": Mutant(
        promises=frozenset({"I1"}), storm="changes", seed=4
    ),
    "removed_is_final": Mutant(promises=frozenset({"I9"}), storm="changes"),
    "past_time_taken": Mutant(promises=frozenset({"I6"}), storm="changes", seed=2),
    "draft_not_remembered": Mutant(promises=frozenset({"I1"}), storm="repeats", seed=3),
    "expired_lease_is_due/repeats": Mutant(promises=frozenset({"I1"}), storm="repeats"),
    "short_text_never_matches": Mutant(
        promises=frozenset({"I1"}), storm="lists", seed=2
    ),
    "approvals_read_before_intent": Mutant(
        promises=frozenset({"I5"}), storm="approvals"
    ),
    "fingerprint_of_one_account": Mutant(promises=frozenset({"I5"}), storm="approvals"),
    "author_counted": Mutant(promises=frozenset({"I5"}), storm="approvals"),
    "only_last_saver_barred": Mutant(promises=frozenset({"I5"}), storm="approvals"),
    "ended_approval_honoured": Mutant(promises=frozenset({"I5"}), storm="approvals"),
    "edit_keeps_approvals": Mutant(
        promises=frozenset({"I5"}), storm="approvals", seed=2
    ),
    "person_approves_twice": Mutant(promises=frozenset({"I5"}), storm="approvals"),
    "refused_notice_forgotten": Mutant(
        promises=frozenset({"I10"}), storm="flapping", function=refused_notice_forgotten
    ),
    "sent_notice_forgotten": Mutant(
        promises=frozenset({"I10"}), storm="flapping", function=sent_notice_forgotten
    ),
    "each_return_is_new": Mutant(
        promises=frozenset({"I10"}), storm="flapping", function=each_return_is_new
    ),
    "end_not_reported": Mutant(
        promises=frozenset({"I10"}), storm="flapping", function=end_not_reported
    ),
    "notices_every_two_minutes": Mutant(
        promises=frozenset({"I10"}),
        storm="flapping",
        function=notices_every_two_minutes,
    ),
}
