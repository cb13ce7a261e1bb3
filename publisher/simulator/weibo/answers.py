"""Weibo's shapes: statuses, users, pictures, errors (open.weibo.com wiki 2/statuses/share, Error_code)."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.reach import reach_of
from publisher.simulator.world import Account, Post

from .codes import ARTICLE_CODES, TEXTS, status_of
from .ids import uid_number

BEIJING = timezone(timedelta(hours=8))
ARTICLE = "/proxy/article/publish.json"
SIGN_IN = "/oauth2/"
BY_HAND, BY_APP = "微博网页版", "平安发布"


def refuse(call: Call, code: int, detail: str = "", message: str | None = None) -> Answer:
    """An error in the shape of the endpoint: OAuth says more, the article call has an envelope of its own."""
    text = TEXTS.get(code, "System error").format(detail) if message is None else message
    if call.endpoint == ARTICLE and code in ARTICLE_CODES:
        return Answer.of({"code": str(code), "msg": text, "data": ""})
    if call.endpoint.startswith(SIGN_IN):
        return _refuse_sign_in(call, code, message)
    return Answer.of({"request": call.endpoint, "error_code": code, "error": text}, status_of(code))


def _refuse_sign_in(call: Call, code: int, description: str | None) -> Answer:
    facts = {
        "error": TEXTS.get(code, "System error").format(""),
        "error_code": code,
        "request": call.endpoint,
        "error_uri": call.endpoint,
    }
    return Answer.of(facts | ({"error_description": description} if description else {}), status_of(code))


def moment(unix: float) -> str:
    return datetime.fromtimestamp(unix, BEIJING).strftime("%a %b %d %H:%M:%S %z %Y")


def user(account: Account) -> dict[str, Any]:
    return {
        "id": uid_number(account.identity),
        "idstr": account.identity,
        "screen_name": account.shown,
        "name": account.shown,
        "verified": True,
        "verified_type": 1,
    }


def picture_sizes(name: str) -> dict[str, str]:
    """The addresses of one picture, as a status and a stored picture name them."""
    sizes = {"thumbnail": "thumbnail", "bmiddle": "bmiddle", "original": "large"}
    return {f"{size}_pic": f"http://ww2.sinaimg.cn/{folder}/{name}.jpg" for size, folder in sizes.items()}


def pictures(images: Sequence[str]) -> dict[str, Any]:
    if not images:
        return {"pic_urls": []}
    urls = [{"thumbnail_pic": picture_sizes(each)["thumbnail_pic"]} for each in images]
    return {**picture_sizes(images[0]), "pic_urls": urls}


def source_of(post: Post) -> str:
    return str(post.extra.get("source") or (BY_HAND if post.extra.get("by_hand") else BY_APP))


def status(post: Post, account: Account, now: float, *, trim_user: bool = False) -> dict[str, Any]:
    """A status as it stands now; what was sent along unseen (`annotations`) comes back with it."""
    extra, reach = post.extra, reach_of(post, now)
    owner = user(account)
    return {
        "created_at": moment(post.created),
        "id": int(post.id),
        "idstr": post.id,
        "mid": post.id,
        "text": post.text,
        "textLength": len(post.text),
        "source": f'<a href="https://pub.example.gov.cn" rel="nofollow">{source_of(post)}</a>',
        "favorited": False,
        "truncated": False,
        "in_reply_to_status_id": "",
        "in_reply_to_user_id": "",
        "in_reply_to_screen_name": "",
        **pictures(post.images),
        "geo": extra.get("geo"),
        "reposts_count": reach.reposts,
        "comments_count": reach.comments,
        "attitudes_count": reach.likes,
        "isLongText": bool(extra.get("long")),
        "visible": {"type": extra.get("visible", 0), "list_id": extra.get("list_id", 0)},
        "url_objects": extra.get("url_objects", []),
        **({"annotations": extra["annotations"]} if "annotations" in extra else {}),
        "user": {"id": owner["id"], "idstr": owner["idstr"]} if trim_user else owner,
    }
