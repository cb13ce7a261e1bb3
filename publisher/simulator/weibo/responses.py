"""Weibo's response bodies: statuses, users, pictures, errors (open.weibo.com wiki 2/statuses/share, Error_code)."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from publisher.simulator.metrics import compute_metrics
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedAccount, SimulatedPost

from .codes import ARTICLE_CODES, ERROR_TEXTS, get_http_status
from .ids import to_uid_number

BEIJING = timezone(timedelta(hours=8))
ARTICLE_PATH = "/proxy/article/publish.json"
WEB_SOURCE, APP_SOURCE = "微博网页版", "平安发布"


def refuse(request: ApiRequest, code: int, detail: str = "", message: str | None = None) -> ApiResponse:
    """Return an error in the endpoint's format: OAuth adds fields, the article call has an envelope of its own."""
    text = ERROR_TEXTS.get(code, "System error").format(detail) if message is None else message
    if request.endpoint == ARTICLE_PATH and code in ARTICLE_CODES:
        return ApiResponse.from_json({"code": str(code), "msg": text, "data": ""})
    body: dict[str, object] = {"request": request.endpoint, "error_code": code, "error": text}
    if request.endpoint.startswith("/oauth2/"):
        name = ERROR_TEXTS.get(code, "System error").format("")
        body = {"error": name, "error_code": code, "request": request.endpoint, "error_uri": request.endpoint}
        if message:
            body["error_description"] = message
    return ApiResponse.from_json(body, get_http_status(code))


def format_time(unix: float) -> str:
    return datetime.fromtimestamp(unix, BEIJING).strftime("%a %b %d %H:%M:%S %z %Y")


def format_user(account: SimulatedAccount) -> dict[str, Any]:
    return {
        "id": to_uid_number(account.identity),
        "idstr": account.identity,
        "screen_name": account.display_name,
        "name": account.display_name,
        "verified": True,
        "verified_type": 1,
    }


def build_picture_urls(name: str) -> dict[str, str]:
    """Return the URLs of one picture, as a status and a stored picture name them."""
    sizes = {"thumbnail": "thumbnail", "bmiddle": "bmiddle", "original": "large"}
    return {f"{size}_pic": f"http://ww2.sinaimg.cn/{folder}/{name}.jpg" for size, folder in sizes.items()}


def format_pictures(images: Sequence[str]) -> dict[str, Any]:
    if not images:
        return {"pic_urls": []}
    urls = [{"thumbnail_pic": build_picture_urls(each)["thumbnail_pic"]} for each in images]
    return {**build_picture_urls(images[0]), "pic_urls": urls}


def format_status(post: SimulatedPost, account: SimulatedAccount, now: float) -> dict[str, Any]:
    """Return a status as of now, with the `annotations` that were sent with it."""
    extra, metrics = post.extra, compute_metrics(post, now)
    source = extra.get("source") or (WEB_SOURCE if extra.get("by_hand") else APP_SOURCE)
    return {
        "created_at": format_time(post.created),
        "id": int(post.id),
        "idstr": post.id,
        "mid": post.id,
        "text": post.text,
        "textLength": len(post.text),
        "source": f'<a href="https://pub.example.gov.cn" rel="nofollow">{source}</a>',
        "favorited": False,
        "truncated": False,
        "in_reply_to_status_id": "",
        "in_reply_to_user_id": "",
        "in_reply_to_screen_name": "",
        **format_pictures(post.images),
        "geo": None,
        "reposts_count": metrics.reposts,
        "comments_count": metrics.comments,
        "attitudes_count": metrics.likes,
        "isLongText": bool(extra.get("long")),
        "visible": {"type": 0, "list_id": 0},
        "url_objects": extra.get("url_objects", []),
        **({"annotations": extra["annotations"]} if "annotations" in extra else {}),
        "user": format_user(account),
    }
