"""Weibo's shapes: statuses, users, errors (open.weibo.com wiki 2/statuses/share, Error_code)."""

from datetime import datetime, timedelta, timezone
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Account, Post

from .ids import uid_number

BEIJING = timezone(timedelta(hours=8))
FORBIDDEN = 403
BAD_REQUEST = 400

TEXTS = {
    10001: "System error",
    10002: "Service unavailable",
    10003: "Remote service error",
    10004: "IP limit",
    10005: "Permission denied, need a high level appkey",
    10006: "Source paramter (appkey) is missing",
    10008: "Param error, see doc for more info",
    10009: "Too many pending tasks, system is busy",
    10010: "Job expired",
    10011: "RPC error",
    10012: "Illegal request",
    10013: "Invalid weibo user",
    10014: "Insufficient app permissions!",
    10016: "Miss required parameter ({}), see doc for more info",
    10017: "text not find domain!",
    10018: "Request body length over limit",
    10020: "Request api not found",
    10021: "HTTP method is not suported for this request",
    10022: "IP requests out of rate limit",
    10023: "User requests out of rate limit!",
    10024: "User requests for ({}) out of rate limit!",
    20003: "User does not exists",
    20005: "Unsupported image type, only suport JPG, GIF, PNG",
    20006: "Image size too large",
    20007: "Does multipart has image",
    20008: "Content is null",
    20012: "Text too long, please input text less than 140 characters",
    20015: "Account or ip or app is illgal, can not continue",
    20016: "Out of limit",
    20017: "Repeat content",
    20018: "Contain illegal website",
    20019: "repeat content!",
    20020: "Contain advertising",
    20021: "Content is illegal",
    20022: "Your ip's behave in a comic boisterous or unruly manner",
    20031: "Test and verify",
    20032: "Update success, while server slow now, please wait 1-2 minutes",
    20101: "Target weibo does not exist",
    20102: "Not your own weibo",
    20111: "Repeated weibo text",
    21314: "Token used",
    21315: "Token expired",
    21316: "Token revoked",
    21317: "Token rejected",
    21319: "Accessor was revoked",
    21321: "Applications over the unaudited use restrictions",
    21327: "expired_token",
    21332: "invalid_access_token",
    21602: "Contains forbid world",
}


def status_of(code: int) -> int:
    """403 for missing permission, rate limits and dead tokens, else 400; the platform itself is not consistent."""
    forbidden = code in (10005, 10014) or 10020 <= code <= 10024 or 21300 <= code <= 21399
    return FORBIDDEN if forbidden else BAD_REQUEST


def refuse(call: Call, code: int, detail: str = "", message: str | None = None) -> Answer:
    text = TEXTS.get(code, "System error").format(detail) if message is None else message
    return Answer.of({"request": call.endpoint, "error_code": code, "error": text}, status_of(code))


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


def pictures(images: list[str]) -> dict[str, Any]:
    if not images:
        return {"pic_urls": []}
    sizes = {f"{name}_pic": f"http://ww2.sinaimg.cn/{name}/{images[0]}.jpg" for name in ("thumbnail", "bmiddle")}
    return {
        **sizes,
        "original_pic": f"http://ww2.sinaimg.cn/large/{images[0]}.jpg",
        "pic_urls": [{"thumbnail_pic": f"http://ww2.sinaimg.cn/thumbnail/{each}.jpg"} for each in images],
    }


def status(post: Post, account: Account, *, trim_user: bool = False) -> dict[str, Any]:
    source = "微博网页版" if post.extra.get("by_hand") else "平安发布"
    owner = user(account)
    return {
        "created_at": moment(post.created),
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
        **pictures(post.images),
        "geo": None,
        "reposts_count": 0,
        "comments_count": 0,
        "attitudes_count": 0,
        "isLongText": False,
        "visible": {"type": 0, "list_id": 0},
        "url_objects": post.extra.get("url_objects", []),
        "user": {"id": owner["id"], "idstr": owner["idstr"]} if trim_user else owner,
    }
