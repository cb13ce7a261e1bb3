"""WeChat's ids: 43 URL-safe characters for media and articles, numbers for jobs."""

import base64
import hashlib
import re
import zlib

PICTURE_HOSTS = ("mmbiz.qpic.cn", "mmbiz.qlogo.cn")
PICTURE_URL = re.compile(r"https?://mmbiz\.q(?:pic|logo)\.cn/[a-z_]+/([0-9a-f]{64})/0(?:\?[^\s\"'<>)]*)?")


def make_media_id(seed: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(seed.encode()).digest()).decode().rstrip("=")


def build_picture_url(digest: str, kind: str) -> str:
    """Return a URL on the platform's picture host; the digest in it names the stored bytes."""
    return f"http://mmbiz.qpic.cn/mmbiz_{kind}/{digest}/0?wx_fmt={kind}"


def find_pictures(html: str) -> list[str]:
    return [match.group(1) for match in PICTURE_URL.finditer(html)]


def build_article_url(app_id: str, publish_id: int, index: int) -> str:
    biz = base64.b64encode(str(3_000_000_000 + zlib.crc32(app_id.encode())).encode()).decode()
    sn = hashlib.md5(f"{app_id}/{publish_id}/{index}".encode(), usedforsecurity=False).hexdigest()
    return f"http://mp.weixin.qq.com/s?__biz={biz}&mid={publish_id}&idx={index}&sn={sn}"


def make_open_id(app_id: str, number: int) -> str:
    """Return a follower's id for one account: 28 characters, the first an `o`."""
    digest = hashlib.sha256(f"{app_id}/follower/{number}".encode()).digest()
    return "o" + base64.urlsafe_b64encode(digest).decode()[:27]


def make_original_id(app_id: str) -> str:
    """Return the account's own id in events."""
    return "gh_" + hashlib.sha256(app_id.encode()).hexdigest()[:12]
