"""What an audit has lost, and that a named person has accepted the loss. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

LOSS_ACCEPTED_EVENT = "loss_accepted"
"""The entry by which a person accepts what was lost."""
LOSS_SIGNATURE_PREFIX = "publisher audit loss 1\n"
"""Begins what is signed: a signature of anything else is none of an acceptance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLoss:
    """The entries from `sequence` to `until` of a chain, as anchors written up to `at` know them.

    `hash` is that of the last of them.
    """

    chain: str
    sequence: int
    until: int
    hash: str
    at: str

    def covers(self, chain: str, sequence: int, digest: str, at: str) -> bool:
        """True if an anchor of that entry tells of nothing but what is in this loss."""
        is_within = chain == self.chain and self.sequence <= sequence <= self.until
        return is_within and (at <= self.at or (sequence, digest) == (self.until, self.hash))


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedDataLoss:
    """Losses that a person has looked into and accepted; `signature` is over the person's name, reason and losses."""

    name: str
    reason: str
    losses: Sequence[ChainLoss]
    signature: str = ""

    @property
    def signing_text(self) -> str:
        """Give what is signed."""
        losses = [asdict(loss) for loss in self.losses]
        return LOSS_SIGNATURE_PREFIX + json.dumps(
            [self.name, self.reason, losses], ensure_ascii=False, separators=(",", ":")
        )

    @property
    def detail(self) -> Mapping[str, object]:
        """Give the detail of the entry."""
        losses = [asdict(loss) for loss in self.losses]
        return {"reason": self.reason, "losses": losses, "signature": self.signature}


def parse_accepted_loss(name: object, detail: object) -> AcceptedDataLoss | None:
    """Read an acceptance from its entry; None where none of ours is written so."""
    try:
        told = json.loads(str(detail))
        losses = [ChainLoss(**loss) for loss in told["losses"]]
        acceptance = AcceptedDataLoss(
            name=str(name), reason=str(told["reason"]), losses=losses, signature=str(told["signature"])
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    texts = (text for loss in losses for text in (loss.chain, loss.hash, loss.at))
    numbers = (number for loss in losses for number in (loss.sequence, loss.until))
    is_ours = all(isinstance(text, str) for text in texts) and all(isinstance(number, int) for number in numbers)
    return acceptance if is_ours else None
