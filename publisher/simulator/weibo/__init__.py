"""Sina Weibo's open platform: what an ordinary app may, and what is granted to the few."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.log import to_json
from publisher.simulator.side import Side
from publisher.simulator.world import Post, World

from .answers import ARTICLE, refuse
from .apps import secret
from .article import Article
from .counting import Counting
from .ids import Mids, bid
from .oauth import OAuth
from .pictures import UploadPicture
from .quotas import Quotas, resource_of
from .reading import Reading
from .sign_in import SignIn
from .text import shorten
from .tokens import Tokens
from .writing import WAYS, Writing

ID_KEYS = frozenset({"id", "idstr", "mid", "pic_id", "object_id", "url", "access_token"})
NAMED = {10007: "json", 10016: "status", 10017: "status"}
"""What stands between the brackets of an error that a fault provokes; in the others it is the call."""
Endpoint = Callable[[Call], Answer]


def create(world: World) -> Side:
    tokens, mids = Tokens(world), Mids(world)
    sign_in = SignIn(world, tokens, Quotas(world))
    writing = Writing(world, sign_in, mids)

    def refused(call: Call, code: int, message: str | None = None) -> Answer:
        return _spelled(refuse(call, code, NAMED.get(code, "") or resource_of(call), message), world)

    def by_hand(wanted: Mapping[str, Any]) -> Post:
        now = world.now()
        sent = str(wanted.get("text") or "")
        text, links = shorten(sent)
        extra = {"by_hand": True, "sent": sent, "url_objects": links}
        return Post(mids.next(now), "weibo", str(wanted["account"]), now, text, extra=extra)

    endpoints = _signing_in(world, sign_in, tokens) | _writing(sign_in, writing) | _reading(world, sign_in)
    return Side(
        name="weibo",
        endpoints={path: _finished(endpoint, world) for path, endpoint in endpoints.items()},
        who=sign_in.who,
        refuse=lambda call, code, message: refused(call, int(code), message),
        unknown=lambda call: refused(call, 10020),
        expire=lambda call: refused(call, 21327),
        codes={"duplicate": "20019", "captcha": "20031"},
        id_keys=ID_KEYS,
        by_hand=by_hand,
        address=lambda post: f"https://weibo.com/{post.account}/{bid(post.id)}",
        secret=secret,
        late_success=frozenset({"20032"}),
    )


def _signing_in(world: World, sign_in: SignIn, tokens: Tokens) -> dict[str, Endpoint]:
    oauth = OAuth(world, sign_in, tokens)
    return {
        "/oauth2/authorize": oauth.authorize,
        "/oauth2/default.html": oauth.own_page,
        "/oauth2/access_token": oauth.access_token,
        "/oauth2/get_token_info": oauth.token_info,
        "/oauth2/revokeoauth2": oauth.revoke,
        "/2/account/rate_limit_status.json": sign_in.rate_limit,
    }


def _writing(sign_in: SignIn, writing: Writing) -> dict[str, Endpoint]:
    return {path: writing.endpoint(way) for path, way in WAYS.items()} | {
        "/2/statuses/upload_pic/biz.json": UploadPicture(sign_in, writing.pictures),
        ARTICLE: Article(sign_in, writing),
    }


def _reading(world: World, sign_in: SignIn) -> dict[str, Endpoint]:
    reading, counting = Reading(world, sign_in), Counting(world, sign_in)
    return {
        "/2/statuses/user_timeline.json": reading.timeline,
        "/2/statuses/user_timeline/biz.json": reading.business_timeline,
        "/2/statuses/show.json": reading.show,
        "/2/statuses/destroy.json": reading.destroy,
        "/2/statuses/destroy/biz.json": reading.business_destroy,
        "/2/statuses/count.json": counting.counts,
        "/2/statuses/count/biz.json": counting.business_counts,
    }


def _finished(endpoint: Endpoint, world: World) -> Endpoint:
    """The endpoint with the fault `no_id` carried into lists, and error codes spelled as the setting says."""

    def finished(call: Call) -> Answer:
        answer = _spelled(endpoint(call), world)
        if call.faults and call.fault("no_id") and answer.type.startswith("application/json"):
            return Answer(to_json(_without_ids(json.loads(answer.body))), answer.status, answer.type)
        return answer

    return finished


def _without_ids(body: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(body, list):
        return [_stripped(entry) for entry in body]
    if isinstance(body.get("statuses"), list):
        return {**body, "statuses": [_stripped(entry) for entry in body["statuses"] if isinstance(entry, dict)]}
    return body


def _stripped(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in ID_KEYS}


def _spelled(answer: Answer, world: World) -> Answer:
    """Numbers are what is seen on the wire, text is what the platform's own samples show."""
    if world.settings.weibo_error_code == "number" or b'"error_code"' not in answer.body:
        return answer
    body = json.loads(answer.body)
    return Answer.of(body | {"error_code": str(body["error_code"])}, answer.status)
