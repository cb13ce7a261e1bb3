"""Sina Weibo's open platform, the part an ordinary app may use."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.side import Side
from publisher.simulator.world import Post, World

from .answers import refuse
from .ids import Mids, bid
from .reading import Reading
from .share import Share
from .sign_in import SignIn
from .text import shorten


def create(world: World) -> Side:
    sign_in = SignIn(world)
    mids = Mids(world)
    share, reading = Share(world, sign_in, mids), Reading(world, sign_in)
    endpoints: dict[str, Callable[[Call], Answer]] = {
        "/2/statuses/share.json": share,
        "/2/statuses/user_timeline.json": reading.timeline,
        "/2/statuses/show.json": reading.show,
        "/2/statuses/destroy.json": reading.destroy,
        "/2/statuses/count.json": reading.counts,
        "/2/account/rate_limit_status.json": reading.rate_limit,
        "/oauth2/get_token_info": sign_in.token_info,
    }

    def by_hand(wanted: Mapping[str, Any]) -> Post:
        now = world.now()
        sent = str(wanted.get("text") or "")
        text, links = shorten(sent)
        extra = {"by_hand": True, "sent": sent, "url_objects": links}
        return Post(mids.next(now), "weibo", str(wanted["account"]), now, text, extra=extra)

    return Side(
        name="weibo",
        endpoints=endpoints,
        who=sign_in.who,
        refuse=lambda call, code, message: refuse(call, int(code), call.endpoint, message),
        unknown=lambda call: refuse(call, 10020),
        expire=lambda call: refuse(call, 21327),
        codes={"duplicate": "20019", "captcha": "20031"},
        id_keys=frozenset({"id", "idstr", "mid"}),
        by_hand=by_hand,
        address=lambda post: f"https://weibo.com/{post.account}/{bid(post.id)}",
        secret=secret,
        late_success=frozenset({"20032"}),
    )


def secret(identity: str) -> dict[str, str]:
    digest = hashlib.sha512(f"weibo/{identity}".encode()).hexdigest()
    return {"app_key": app_key(identity), "app_secret": digest[8:40], "access_token": f"2.00{digest[40:68]}"}


def app_key(identity: str) -> str:
    return str(1_000_000_000 + int(hashlib.sha512(f"weibo/{identity}".encode()).hexdigest()[:7], 16))
