"""Whose post a creating call's answer names is not looked at: an id is an id.

Breaks I8 (F38): after `wrong_account` on a Weibo call the delivery is `published` with an id that was made on another
account; it is not held, and the account goes on.
"""

from adapters.weibo import wire
from adapters.weibo.address import made_at, receipt
from adapters.weibo.fields import Json, id_of, moment
from publisher.domain.outcome import Outcome, Published, Unknown


def _published(body: Json, uid: str) -> Outcome:
    remote_id = id_of(body)
    if remote_id is None:
        return Unknown(reason="weibo_no_id")
    return Published(receipt=receipt(remote_id, uid, moment(body.get("created_at")) or made_at(remote_id)))


def plant() -> None:
    wire._published = _published
