"""Mistakes around approvals: the ones that count for an intent, their scope, and their time."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement

from publisher.domain import approval
from publisher.domain.approval import (
    Approval,
    ApprovalStatus,
    Chain,
    MissingStage,
    Rendition,
)
from publisher.domain.delivery import Actor
from publisher.domain.post import DeliveryId, Fingerprint
from publisher.store import comparison
from publisher.store.approvals import decisions as approval_actions
from publisher.store.approvals import guard as approvals
from publisher.store.db.database import Transaction
from publisher.store.deliveries import intents

from .patch import Patch


def approvals_read_before_intent(patch: Patch) -> None:
    """Approvals are asked for when a delivery is made due, but not again in its intent.

    Breaks I5: a post that is unapproved or edited between that and the intent is sent all the same.
    A login's gap, a pause or a frozen process lies between. A sound intent asks again in its
    transaction.
    """

    def find_unapproved(*_facts: object) -> frozenset[DeliveryId]:
        return frozenset()

    patch.put(intents, "find_unapproved", find_unapproved)


def fingerprint_of_one_account(patch: Patch) -> None:
    """The fingerprint that people approve is that of the first account's text.

    Breaks I5: the texts of the other accounts were shown to nobody, and change under the same yes.
    """

    def hash_renditions(renditions: Iterable[Rendition]) -> Fingerprint:
        return kept(sorted(renditions, key=lambda one: one.account)[:1])

    kept = patch.put(approvals, "hash_renditions", hash_renditions)


def author_counted(patch: Patch) -> None:
    """The author of a text may approve it like anybody else.

    Breaks I5: of two people that must have read a text, one is its author.
    """
    patch.put(ApprovalStatus, "is_barred", lambda _status, _person: False)
    _put_missing(patch, lambda given: given, counts_barred=True)


def only_last_saver_barred(patch: Patch) -> None:
    """An earlier saver of a post may approve it: only the last save is remembered.

    Breaks I5: of two people that must have read a text, one has written it.
    """
    patch.put(approvals, "find_barred", lambda _writers, _shown: frozenset())


def ended_approval_honoured(patch: Patch) -> None:
    """An approval that was taken back is marked as taken back, and still counts.

    Breaks I5: after `unapprove` was answered as done, the post is sent.
    """

    def end_approvals(
        transaction: Transaction,
        now: datetime,
        reason: str,
        by: str,
        *conditions: ColumnElement[bool],
    ) -> int:
        if reason != "unapproved":
            return int(kept(transaction, now, reason, by, *conditions))
        return len(
            transaction.connection.execute(
                approvals.select(approvals.APPROVAL).where(*conditions)
            ).all()
        )

    kept = patch.put(approval_actions, "end_approvals", end_approvals)


def restored_approval_honoured(patch: Patch) -> None:
    """An approval in an older database counts after a restore.

    Breaks I5: approved, backed up, unapproved and restored, the post is sent.
    """

    def void_approvals(
        _transaction: Transaction, _now: datetime, _by: Actor, _reason: str
    ) -> int:
        return 0

    patch.put(comparison, "void_approvals", void_approvals)


def edit_keeps_approvals(patch: Patch) -> None:
    """A text that is changed after it was approved keeps its approvals, as for a corrected word.

    Breaks I5: the sent text is not the one that people have approved.
    """

    def end_approvals(
        transaction: Transaction,
        now: datetime,
        reason: str,
        by: str,
        *conditions: ColumnElement[bool],
    ) -> int:
        return (
            0
            if reason == "changed"
            else int(kept(transaction, now, reason, by, *conditions))
        )

    kept = patch.put(approvals, "end_approvals", end_approvals)
    _put_missing(patch, lambda given: given, ignores_content=True)


def person_approves_twice(patch: Patch) -> None:
    """Each yes counts, of the same person too: one person passes all stages alone.

    Breaks I5: a chain of two people is passed by one.
    """

    def number_people(given: Sequence[Approval]) -> Sequence[Approval]:
        return [
            replace(one, person=f"{one.person} ({number})")
            for number, one in enumerate(given)
        ]

    patch.put(ApprovalStatus, "has_approved", lambda _status, _person: False)
    _put_missing(patch, number_people)


def _put_missing(
    patch: Patch,
    change: Any,
    *,
    counts_barred: bool = False,
    ignores_content: bool = False,
) -> None:
    """Count other approvals than the permitted ones."""

    def missing_stages(
        chain: Chain,
        given: Sequence[Approval],
        content: Fingerprint,
        barred: Collection[str],
    ) -> list[MissingStage]:
        counted = change(
            [replace(one, fingerprint=content) for one in given]
            if ignores_content
            else given
        )
        return list(kept(chain, counted, content, () if counts_barred else barred))

    kept = patch.put(approval, "missing_stages", missing_stages)
