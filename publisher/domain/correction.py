"""Where a correction goes: wherever the original is live, or may turn out to be."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from publisher.domain.account import AccountId
from publisher.domain.delivery import ENDED, Delivery, State


class Spared(StrEnum):
    """Why an account gets no correction."""

    NOT_SENT_YET = "not_sent_yet"
    NEVER_LIVE = "never_live"
    GONE = "gone"
    NOT_ADDRESSED = "not_addressed"
    SWITCHED_OFF = "switched_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What becomes of a correction, account by account.

    `goes`: the original is live there. `waits`: it may be, and the correction goes once that is known. `corrected`:
    the correction is live there already. `spared` says why the rest gets none.
    """

    goes: tuple[AccountId, ...] = ()
    waits: tuple[AccountId, ...] = ()
    corrected: tuple[AccountId, ...] = ()
    spared: Mapping[Spared, tuple[AccountId, ...]] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[AccountId, ...]:
        return (*self.goes, *self.waits)


_DOUBTFUL = frozenset({State.CLAIMED, State.SENDING, State.SUBMITTED, State.UNKNOWN, State.RETRACTING})
_GONE = frozenset({State.RETRACTED, State.REMOVED})


def chart(
    originals: Sequence[Delivery],
    corrections: Sequence[Delivery],
    *,
    addressed: Collection[AccountId],
    speaking: Collection[AccountId],
) -> Course:
    """Say where a correction goes, from the deliveries of the original and those that the correction has already.

    `addressed` are the accounts that the correction's own entry names, `speaking` those that are not switched off.
    """
    accounts = list(dict.fromkeys([*(delivery.account for delivery in originals), *addressed]))
    corrected = {delivery.account for delivery in corrections if delivery.state is State.PUBLISHED}
    goes: list[AccountId] = []
    waits: list[AccountId] = []
    spared: dict[Spared, tuple[AccountId, ...]] = {}
    for account in accounts:
        standing = _standing([delivery for delivery in originals if delivery.account == account])
        if account in corrected:
            continue
        if not isinstance(standing, Spared) and account not in speaking:
            standing = Spared.SWITCHED_OFF
        if isinstance(standing, Spared):
            spared[standing] = (*spared.get(standing, ()), account)
        else:
            (goes if standing is State.PUBLISHED else waits).append(account)
    return Course(
        goes=tuple(goes),
        waits=tuple(waits),
        corrected=tuple(account for account in accounts if account in corrected),
        spared=spared,
    )


def _standing(deliveries: Sequence[Delivery]) -> State | Spared:
    """Say whether the original is live on an account, may be, or why it is not."""
    states = {delivery.state for delivery in deliveries}
    if State.PUBLISHED in states:
        return State.PUBLISHED
    if states & _DOUBTFUL or any(delivery.state is State.HELD and delivery.attempts for delivery in deliveries):
        return State.UNKNOWN
    if states - ENDED:
        return Spared.NOT_SENT_YET
    if states & _GONE:
        return Spared.GONE
    return Spared.NEVER_LIVE if states else Spared.NOT_ADDRESSED
