"""The tickets of submissions and mass sends. Pure."""

import json
from dataclasses import asdict, dataclass

from publisher.domain.outcome import Ticket
from publisher.domain.rendition import DeliveryId


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What WeChat still works on: the number of a submission, or the name of a mass send, and how often we asked."""

    name: str
    delivery: DeliveryId
    looks: int


def ticket_for(work: Work) -> Ticket:
    return Ticket(number=json.dumps(asdict(work)))


def read_ticket(ticket: Ticket) -> Work | None:
    """Read a ticket back, also one of an earlier version; None where it is not ours."""
    try:
        facts = json.loads(ticket.number)
        return Work(
            name=str(facts["name"] if "name" in facts else facts["publish_id"]),
            delivery=DeliveryId(int(facts.get("delivery", 0))),
            looks=int(facts["looks"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
