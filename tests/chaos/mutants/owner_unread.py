"""Whose post a creating call's answer names is not looked at: an id is an id.

Breaks I8 (F38): after `wrong_account` on a Weibo call the delivery is `published` with an id that was made on another
account; it is not held, and the account goes on.
"""

from adapters.weibo import api
from adapters.weibo.api import Json, decode_created_at, get_post_id, make_receipt, parse_time
from publisher.domain.results import Outcome, Published, Unknown


def _published(body: Json, uid: str) -> Outcome:
    remote_id = get_post_id(body)
    if remote_id is None:
        return Unknown(reason="weibo_no_id")
    return Published(
        receipt=make_receipt(remote_id, uid, parse_time(body.get("created_at")) or decode_created_at(remote_id))
    )


def plant() -> None:
    api.interpret_created = _published
