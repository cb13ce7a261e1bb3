"""WeChat's error format, ids and addresses.

An error has HTTP 200, `errcode`, and a text that ends in a request id.
"""

import base64
import hashlib
import re
import time
import zlib
from datetime import timedelta, timezone
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse

OK_BODY = {"errcode": 0, "errmsg": "ok"}
BEIJING = timezone(timedelta(hours=8))
MAX_LIST_SIZE = 20

PICTURE_HOSTS = ("mmbiz.qpic.cn", "mmbiz.qlogo.cn")
PICTURE_URL = re.compile(
    r"https?://mmbiz\.q(?:pic|logo)\.cn/[a-z_]+/([0-9a-f]{64})/0(?:\?[^\s\"'<>)]*)?"
)
ERROR_TEXTS = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40002: "invalid grant_type",
    40003: "invalid openid",
    40004: "invalid media type",
    40005: "invalid file type",
    40007: "invalid media_id",
    40008: "invalid message type",
    40009: "invalid image size",
    40012: "invalid thumb size",
    40013: "invalid appid",
    40014: "invalid access_token",
    40035: "invalid parameter",
    40059: "invalid msg id",
    40060: "invalid article idx",
    40066: "invalid url",
    40125: "invalid appsecret",
    40130: "invalid openid list size, at least two openid",
    40164: "invalid ip {peer} ipv6 ::ffff:{peer}, not in whitelist",
    41001: "access_token missing",
    41002: "appid missing",
    41004: "appsecret missing",
    41005: "media data missing",
    41006: "media_id missing",
    42001: "access_token expired",
    43002: "require POST method",
    44003: "empty news data",
    44004: "empty content",
    45001: "media size out of limit",
    45002: "content size out of limit",
    45003: "title size out of limit",
    45004: "description size out of limit",
    45005: "url size out of limit",
    45008: "article count out of limit",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit, must slower, retry next minute",
    45028: "has no masssend quota",
    45065: "clientmsgid exist",
    45066: "same clientmsgid retry too fast",
    45067: "clientmsgid size out of limit",
    45103: "api unsupported",
    45110: "author size out of limit",
    45157: "invalid tag name",
    45159: "invalid tag_id",
    45166: "invalid content",
    47001: "data format error",
    48001: "api unauthorized",
    48004: "api forbidden for irregularities, view detail on mp.weixin.qq.com",
    53401: "the draft cannot be changed in this state",
    53402: "cover cannot be cropped",
    53500: "publish is banned",
    53501: "publish too frequently",
    53502: "invalid publish_id",
    53503: "draft does not pass the publish check",
    53504: "must be published in the console",
    53505: "must be saved in the console first",
    53600: "invalid article_id",
    61500: "date format error",
    61501: "date range error",
    87014: "risky content",
    88000: "without comment privilege",
    89503: "the ip must be confirmed by the administrator",
    200001: "content violates the platform's rules",
}


def refuse(
    request: ApiRequest, code: int, message: str | None = None, **more: object
) -> ApiResponse:
    """Return an error body as seen in real responses: `… rid: 8hex-8hex-8hex`.

    The first group is the time.
    """
    digest = hashlib.sha256(
        f"{request.event_number}/{request.endpoint}".encode()
    ).hexdigest()
    if message is None:
        message = ERROR_TEXTS.get(code, "system error").format(
            peer=request.peer_address or "127.0.0.1"
        )
    text = f"{message} rid: {int(time.time()):08x}-{digest[:8]}-{digest[8:16]}"
    return ApiResponse.from_json({"errcode": code, "errmsg": text, **more})


def make_media_id(seed: str) -> str:
    return (
        base64.urlsafe_b64encode(hashlib.sha256(seed.encode()).digest())
        .decode()
        .rstrip("=")
    )


def build_picture_url(digest: str, kind: str) -> str:
    """Return a URL on the platform's picture host; the digest in it names the stored bytes."""
    return f"http://mmbiz.qpic.cn/mmbiz_{kind}/{digest}/0?wx_fmt={kind}"


def find_pictures(html: str) -> list[str]:
    return [match.group(1) for match in PICTURE_URL.finditer(html)]


def build_article_url(app_id: str, publish_id: int, index: int) -> str:
    biz = base64.b64encode(
        str(3_000_000_000 + zlib.crc32(app_id.encode())).encode()
    ).decode()
    sn = hashlib.md5(
        f"{app_id}/{publish_id}/{index}".encode(), usedforsecurity=False
    ).hexdigest()
    return f"http://mp.weixin.qq.com/s?__biz={biz}&mid={publish_id}&idx={index}&sn={sn}"


def make_open_id(app_id: str, number: int) -> str:
    """Return a follower's id for one account: 28 characters, the first an `o`."""
    digest = hashlib.sha256(f"{app_id}/follower/{number}".encode()).digest()
    return "o" + base64.urlsafe_b64encode(digest).decode()[:27]


def make_original_id(app_id: str) -> str:
    """Return the account's own id in events."""
    return "gh_" + hashlib.sha256(app_id.encode()).hexdigest()[:12]


def parse_page(fields: dict[str, Any]) -> tuple[int, int]:
    """Return the offset and the count that a call asks for."""
    try:
        start, count = (
            int(fields.get("offset") or 0),
            int(fields.get("count") or MAX_LIST_SIZE),
        )
    except (TypeError, ValueError):
        return 0, MAX_LIST_SIZE
    return max(0, start), max(1, min(count, MAX_LIST_SIZE))
