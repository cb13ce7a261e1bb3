"""Where a correction goes: wherever the original is live, or may turn out to be."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from publisher.domain.account import AccountId
from publisher.domain.delivery import FINAL_STATES, Delivery, State


class SkipReason(StrEnum):
    """Why an account gets no correction."""

    NOT_SENT_YET = "not_sent_yet"
    NEVER_PUBLISHED = "never_published"
    DELETED = "deleted"
    NOT_TARGETED = "not_targeted"
    SWITCHED_OFF = "account_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionPlan:
    """What becomes of a correction, account by account.

    `goes`: the original is live there. `waits`: it may be, and the correction goes once that is known. `corrected`:
    the correction is live there already. `spared` says why the rest gets none.
    """

    send_now: tuple[AccountId, ...] = ()
    waiting: tuple[AccountId, ...] = ()
    corrected: tuple[AccountId, ...] = ()
    skipped: Mapping[SkipReason, tuple[AccountId, ...]] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[AccountId, ...]:
        return (*self.send_now, *self.waiting)


_UNRESOLVED_STATES = frozenset({State.CLAIMED, State.SENDING, State.SUBMITTED, State.UNKNOWN, State.RETRACTING})
_DELETED_STATES = frozenset({State.RETRACTED, State.REMOVED})


def plan_correction(
    originals: Sequence[Delivery],
    corrections: Sequence[Delivery],
    *,
    targeted: Collection[AccountId],
    active: Collection[AccountId],
) -> CorrectionPlan:
    """Say where a correction goes, from the deliveries of the original and those that the correction has already.

    `addressed` are the accounts that the correction's own entry names, `speaking` those that are not switched off.
    """
    accounts = list(dict.fromkeys([*(delivery.account for delivery in originals), *targeted]))
    corrected = {delivery.account for delivery in corrections if delivery.state is State.PUBLISHED}
    goes: list[AccountId] = []
    waits: list[AccountId] = []
    spared: dict[SkipReason, tuple[AccountId, ...]] = {}
    for account in accounts:
        standing = _find_original_state([delivery for delivery in originals if delivery.account == account])
        if account in corrected:
            continue
        if not isinstance(standing, SkipReason) and account not in active:
            standing = SkipReason.SWITCHED_OFF
        if isinstance(standing, SkipReason):
            spared[standing] = (*spared.get(standing, ()), account)
        else:
            (goes if standing is State.PUBLISHED else waits).append(account)
    return CorrectionPlan(
        send_now=tuple(goes),
        waiting=tuple(waits),
        corrected=tuple(account for account in accounts if account in corrected),
        skipped=spared,
    )


def _find_original_state(deliveries: Sequence[Delivery]) -> State | SkipReason:
    """Say whether the original is live on an account, may be, or why it is not."""
    states = {delivery.state for delivery in deliveries}
    if State.PUBLISHED in states:
        return State.PUBLISHED
    if states & _UNRESOLVED_STATES or any(
        delivery.state is State.HELD and delivery.attempts for delivery in deliveries
    ):
        return State.UNKNOWN
    if states - FINAL_STATES:
        return SkipReason.NOT_SENT_YET
    if states & _DELETED_STATES:
        return SkipReason.DELETED
    return SkipReason.NEVER_PUBLISHED if states else SkipReason.NOT_TARGETED
