"""Mistakes around changes during an open outcome: slips, times, ids, identities, and methods."""

from dataclasses import replace
from typing import Any

from publisher.domain import plan
from publisher.domain.delivery import Delivery
from publisher.domain.errors import ScheduleError
from publisher.domain.post import SendRequest
from publisher.engine import planner
from publisher.store.base import BaseStore
from publisher.store.deliveries import intents
from publisher.store.plan import posts
from publisher.store.plan.accounts import AccountStore

from .patch import Patch


def present_method_decides(patch: Patch) -> None:
    """An attempt's method is not asked: the post's present kind decides on reads and another call.

    Breaks I1 and I7 (F99): a routine article with a lost answer is made urgent while it is in
    review. It is taken for a mass send, with a key that forbids a double. So it is mass-sent as
    well, and live twice.
    """

    def build(store: BaseStore, delivery: Delivery, *facts: Any) -> SendRequest:
        request = kept_build(store, delivery, *facts)
        call_method = store.policies[delivery.account].call_method
        return replace(
            request, method=call_method(request.rendered, is_urgent=delivery.is_urgent)
        )

    def prepare_request(
        store: BaseStore, connection: Any, delivery: Delivery, facts: Any
    ) -> Any:
        return kept_prepare(store, connection, delivery, {**facts, "last_method": ""})

    kept_build = patch.put(intents, "_build", build)
    kept_prepare = patch.put(intents, "_prepare_request", prepare_request)


def identity_not_compared(patch: Patch) -> None:
    """An attempt is read and repeated on the account that the settings name now.

    Breaks I7, I8 and I1 (F96): while an outcome is open the account becomes another one. Its list
    proves an absence that was never asked of the first. The post goes out on the other account.
    """

    def find_identity_change(*_facts: object) -> None:
        return None

    patch.put(intents, "find_identity_change", find_identity_change)


def another_id_accepted(patch: Patch) -> None:
    """An account that is known under another id is taken for a new one.

    Breaks I17 (F97): deliveries planned for the account are planned for its new id once more. The old
    outcome stays open.
    """

    async def register(_accounts: AccountStore) -> None:
        pass

    patch.put(AccountStore, "register", register)


def family_ids_not_compared(patch: Patch) -> None:
    """A post that becomes a family is filed under its new ids, whatever was called under the old one.

    Breaks I1 and I17 (F100): an account that has the words gets them again.
    """

    def find_conflicts(*_facts: object) -> list[object]:
        return []

    patch.put(posts, "find_conflicts", find_conflicts)


def conflict_refuses_file(patch: Patch) -> None:
    """A post that conflicts with its planned version refuses the whole file, as any other error does.

    Breaks I22 and I9 (F100, F101): while a slip is in the file, a new urgent warning in it is not
    sent.
    """

    def diff_schedule(*facts: Any) -> plan.Plan:
        changes = kept(*facts)
        if changes.left_out:
            raise ScheduleError(changes.left_out)
        return changes

    kept = patch.put(planner, "diff_schedule", diff_schedule)


def removed_is_final(patch: Patch) -> None:
    """A post that left the schedule before any call stays cancelled, even if it returns later.

    Breaks I9 (F100): a post that is deleted by a slip and put back a minute later is never sent.
    """

    def find_restorable(*_facts: object) -> frozenset[str]:
        return frozenset()

    patch.put(plan, "find_restorable", find_restorable)


def past_time_taken(patch: Patch) -> None:
    """A planned post with a time moved into the past by a slip is due at once, as a late post is.

    Breaks I6 (F101): it is live hours before the time that was meant.
    """
    patch.put(plan, "is_moved_into_past", lambda *_facts: False)
