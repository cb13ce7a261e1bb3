"""The tickets of submissions and mass sends. Pure."""

import json
from dataclasses import asdict, dataclass

from publisher.domain.rendered import DeliveryId
from publisher.domain.results import Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingJob:
    """What WeChat still works on: the number of a submission, or the name of a mass send, and how often we asked."""

    name: str
    delivery: DeliveryId
    looks: int


def encode_ticket(pending_job: PendingJob) -> Ticket:
    return Ticket(payload=json.dumps(asdict(pending_job)))


def decode_ticket(ticket: Ticket) -> PendingJob | None:
    """Read a ticket back, also one of an earlier version; None where it is not ours."""
    try:
        facts = json.loads(ticket.payload)
        return PendingJob(
            name=str(facts["name"] if "name" in facts else facts["publish_id"]),
            delivery=DeliveryId(int(facts.get("delivery", 0))),
            looks=int(facts["looks"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
