"""Weibo's error codes, ids and response bodies.

Sources: open.weibo.com wiki Error_code and Toutiao/api, read 2026-11-25; 2/statuses/share.
"""

from datetime import datetime, timedelta, timezone
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState, compute_metrics

from .text import to_base62

BEIJING = timezone(timedelta(hours=8))
ARTICLE_PATH = "/proxy/article/publish.json"
WEB_SOURCE, APP_SOURCE = "微博网页版", "平安发布"
ID_EPOCH_SECONDS = 515483463
"""Offset for `unix = (mid >> 22) + 515483463`.

It gives the second of the sample on open.weibo.com wiki 2/statuses/share.
"""
SECOND_BITS = 22
HTTP_FORBIDDEN = 403
HTTP_BAD_REQUEST = 400
ARTICLE_CODES = frozenset({10001, 10008, 11001, 11002, 11003})
"""Codes that the article call returns in its own envelope; all others come in the usual body."""

ERROR_TEXTS = {
    10001: "System error",
    10002: "Service unavailable",
    10003: "Remote service error",
    10004: "Ip Limit, request ip is not contained in safety ip",
    10005: "Permission denied, need a high level appkey",
    10006: "Source paramter (appkey) is missing",
    10007: "Unsupport mediatype ({})",
    10008: "Param error, see doc for more info",
    10009: "Too many pending tasks, system is busy",
    10010: "Job expired",
    10011: "RPC error",
    10012: "Illegal request",
    10013: "Invalid weibo user",
    10014: "Insufficient app permissions!",
    10016: "Miss required parameter ({}), see doc for more info",
    10017: "Parameter ({})'s value invalid, see doc for more info",
    10018: "Request body length over limit",
    10020: "Request api not found",
    10021: "HTTP method is not suported for this request",
    10022: "IP requests out of rate limit",
    10023: "User requests out of rate limit!",
    10024: "User requests for ({}) out of rate limit!",
    10025: "internal interface parameter error",
    11001: "publish too frequently",
    11002: "publish weibo failed",
    11003: "bind weibo failed",
    20001: "IDs is null",
    20002: "uid is null",
    20003: "User does not exists",
    20005: "Unsupported image type, only suport JPG, GIF, PNG",
    20006: "Image size too large",
    20007: "Does multipart has image",
    20008: "Content is null",
    20009: "IDs is too many",
    20012: "Text too long, please input text less than 140 characters",
    20013: "Text too long, please input text less than 300 characters",
    20014: "Param is error, please try again",
    20015: "Account or ip or app is illgal, can not continue",
    20016: "Out of limit",
    20017: "Repeat content",
    20018: "Contain illegal website",
    20019: "repeat content!",
    20020: "Contain advertising",
    20021: "Content is illegal",
    20022: "Your ip's behave in a comic boisterous or unruly manner",
    20023: "function unavailable",
    20031: "Test and verify",
    20032: "Update success, while server slow now, please wait 1-2 minutes",
    20033: "login state abnormal",
    20049: "Long text too long",
    20053: "Release success, but it needs manual review for some minutes",
    20101: "Target weibo does not exist",
    20102: "Not your own weibo",
    20104: "Illegal weibo",
    20109: "Weibo id is null",
    20111: "Repeated weibo text",
    20112: "No permission to view, author privacy",
    20121: "visible is invalid",
    21301: "Auth faild",
    21302: "Username or password error",
    21303: "Username and pwd auth out of rate limit",
    21305: "Parameter absent",
    21306: "Parameter rejected",
    21307: "Timestamp refused",
    21308: "Nonce used",
    21309: "Signature method rejected",
    21310: "Signature invalid",
    21311: "Consumer key unknown",
    21312: "Consumer key refused",
    21313: "Miss consumer key",
    21314: "Token used",
    21315: "Token expired",
    21316: "Token revoked",
    21317: "Token rejected",
    21319: "Accessor was revoked",
    21320: "OAuth2 must use https",
    21321: "Applications over the unaudited use restrictions",
    21322: "redirect_uri_mismatch",
    21323: "invalid_request",
    21324: "invalid_client",
    21325: "invalid_grant",
    21326: "unauthorized_client",
    21327: "expired_token",
    21328: "unsupported_grant_type",
    21329: "unsupported_response_type",
    21330: "access_denied",
    21331: "temporarily_unavailable",
    21332: "invalid_access_token",
    21337: "appkey permission denied",
    21405: "connect timed out after 2000 ms",
    21501: "urls is null",
    21504: "url is null",
    21602: "Contains forbid world",
    23201: "Backend connect timeout",
}


def refuse(
    request: ApiRequest, code: int, detail: str = "", message: str | None = None
) -> ApiResponse:
    """Return an error in the endpoint's format.

    OAuth adds fields, and the article call has an envelope of its own.
    """
    text = (
        ERROR_TEXTS.get(code, "System error").format(detail)
        if message is None
        else message
    )
    if request.endpoint == ARTICLE_PATH and code in ARTICLE_CODES:
        return ApiResponse.from_json({"code": str(code), "msg": text, "data": ""})
    body: dict[str, object] = {
        "request": request.endpoint,
        "error_code": code,
        "error": text,
    }
    if request.endpoint.startswith("/oauth2/"):
        name = ERROR_TEXTS.get(code, "System error").format("")
        body = {
            "error": name,
            "error_code": code,
            "request": request.endpoint,
            "error_uri": request.endpoint,
        }
        if message:
            body["error_description"] = message
    # missing permission, rate limits, invalid tokens; the platform is not consistent
    is_forbidden = (
        code in (10005, 10014) or 10020 <= code <= 10024 or 21300 <= code <= 21399
    )
    return ApiResponse.from_json(
        body, HTTP_FORBIDDEN if is_forbidden else HTTP_BAD_REQUEST
    )


def build_picture_urls(name: str) -> dict[str, str]:
    """Return the URLs of one picture, as a status and a stored picture name them."""
    sizes = {"thumbnail": "thumbnail", "bmiddle": "bmiddle", "original": "large"}
    return {
        f"{size}_pic": f"http://ww2.sinaimg.cn/{folder}/{name}.jpg"
        for size, folder in sizes.items()
    }


def format_status(state: SimulatorState, post: SimulatedPost) -> dict[str, Any]:
    """Return a status as of now, with the `annotations` that were sent with it."""
    extra, metrics = post.extra, compute_metrics(post, state.now())
    account = state.ensure_account("weibo", post.account)
    source = WEB_SOURCE if extra.get("by_hand") else APP_SOURCE
    return {
        "created_at": datetime.fromtimestamp(post.created, BEIJING).strftime(
            "%a %b %d %H:%M:%S %z %Y"
        ),
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
        **(build_picture_urls(post.images[0]) if post.images else {}),
        "pic_urls": [
            {"thumbnail_pic": build_picture_urls(each)["thumbnail_pic"]}
            for each in post.images
        ],
        "geo": None,
        "reposts_count": metrics.reposts,
        "comments_count": metrics.comments,
        "attitudes_count": metrics.likes,
        "isLongText": bool(extra.get("long")),
        "visible": {"type": 0, "list_id": 0},
        "url_objects": extra.get("url_objects", []),
        **({"annotations": extra["annotations"]} if "annotations" in extra else {}),
        "user": {
            "id": to_uid_number(account.identity),
            "idstr": account.identity,
            "screen_name": account.display_name,
            "name": account.display_name,
            "verified": True,
            "verified_type": 1,
        },
    }


def make_post_id(state: SimulatorState, now: float) -> str:
    """Return an unused id that contains its second; ids grow within a second."""
    first = ((int(now) - ID_EPOCH_SECONDS) << SECOND_BITS) + 1
    return str(state.take_number(f"weibo/{first}", first))


def encode_bid(mid: str) -> str:
    """Return the id as a post's URL shows it.

    Groups of seven digits from the right become four characters each.
    """
    groups: list[str] = []
    while mid:
        mid, group = mid[:-7], mid[-7:]
        groups.insert(0, to_base62(int(group), 4 if mid else 1))
    return "".join(groups)


def to_uid_number(identity: str) -> int:
    """Return the identity as the integer that responses carry beside the text."""
    if identity.isascii() and identity.isdigit():
        return int(identity)
    return 1_000_000_000 + int.from_bytes(identity.encode()[-4:], "big") % 9_000_000_000
