"""The targets of a correction, by the present state of its original. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from publisher.domain.account import AccountId
from publisher.domain.delivery import FINAL_STATES, Delivery, DesiredState, State


class SkipReason(StrEnum):
    """Why an account gets no correction.

    `STOPPED`: the original is not published, and will not be published any more.
    """

    STOPPED = "stopped"
    NEVER_PUBLISHED = "never_published"
    DELETED = "deleted"
    NOT_TARGETED = "not_targeted"
    SWITCHED_OFF = "account_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionPlan:
    """Where a correction is sent, by account.

    `send_now`: the original is published there. `waiting`: it may be; the correction is sent once
    that is known. `corrected`: the correction is already published there. `skipped` gives the
    reason for the rest.
    """

    send_now: tuple[AccountId, ...] = ()
    waiting: tuple[AccountId, ...] = ()
    corrected: tuple[AccountId, ...] = ()
    skipped: Mapping[SkipReason, tuple[AccountId, ...]] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[AccountId, ...]:
        return (*self.send_now, *self.waiting)

    @property
    def stopped(self) -> tuple[AccountId, ...]:
        return self.skipped.get(SkipReason.STOPPED, ())


_UNRESOLVED_STATES = frozenset(
    {State.SENDING, State.SUBMITTED, State.UNKNOWN, State.RETRACTING}
)
_DELETED_STATES = frozenset({State.RETRACTED, State.REMOVED})


def plan_correction(
    originals: Sequence[Delivery],
    corrections: Sequence[Delivery],
    *,
    targeted: Collection[AccountId],
    active: Collection[AccountId],
) -> CorrectionPlan:
    """Plan a correction from the original's deliveries and its own existing deliveries.

    `targeted` are the accounts that the correction's own entry names. `active` are the accounts
    that are not switched off.
    """
    accounts = list(
        dict.fromkeys([*(delivery.account for delivery in originals), *targeted])
    )
    corrected = {
        delivery.account
        for delivery in corrections
        if delivery.state is State.PUBLISHED
    }
    send_now: list[AccountId] = []
    waiting: list[AccountId] = []
    skipped: dict[SkipReason, tuple[AccountId, ...]] = {}
    for account in accounts:
        if account in corrected:
            continue
        status = _find_original_state(
            [delivery for delivery in originals if delivery.account == account]
        )
        if not isinstance(status, SkipReason) and account not in active:
            status = SkipReason.SWITCHED_OFF
        if isinstance(status, SkipReason):
            skipped[status] = (*skipped.get(status, ()), account)
        else:
            (send_now if status is State.PUBLISHED else waiting).append(account)
    return CorrectionPlan(
        send_now=tuple(send_now),
        waiting=tuple(waiting),
        corrected=tuple(account for account in accounts if account in corrected),
        skipped=skipped,
    )


def _find_original_state(deliveries: Sequence[Delivery]) -> State | SkipReason:
    """Return PUBLISHED, UNKNOWN if the original may be published, or why it is not."""
    states = {delivery.state for delivery in deliveries}
    if State.PUBLISHED in states:
        return State.PUBLISHED
    was_held_after_attempt = any(
        delivery.state is State.HELD and delivery.attempts for delivery in deliveries
    )
    if (
        states & _UNRESOLVED_STATES
        or was_held_after_attempt
        or any(one.is_incomplete for one in deliveries)
    ):
        return State.UNKNOWN
    if states - FINAL_STATES or any(
        one.desired is DesiredState.CORRECTED for one in deliveries
    ):
        return SkipReason.STOPPED
    if states & _DELETED_STATES:
        return SkipReason.DELETED
    return SkipReason.NEVER_PUBLISHED if states else SkipReason.NOT_TARGETED
