"""What is told at the end of a job, as XML (developers.weixin.qq.com, Callback_on_finish and Batch_Sends)."""

from collections.abc import Mapping, Sequence
from typing import Any

from publisher.simulator.world import Post, World

from .ids import article_url, original_id
from .publishing import job_of

PUBLISHED, SENT = "PUBLISHJOBFINISH", "MASSSENDJOBFINISH"
SENDER = "mphelper"
"""A helper account of the platform's, no follower."""
ADMIN_REFUSED, ADMIN_SILENT = 40001, 40002
NOT_A_REPRINT = 1


def name_of(post: Post) -> str:
    return SENT if "mass" in post.extra else PUBLISHED


def event_of(post: Post, world: World) -> dict[str, Any]:
    """The event at the end of a post's job; numbers stay bare, texts become CDATA, lists repeat their name."""
    told = _mass(post, world) if "mass" in post.extra else {"PublishEventInfo": _publish(post)}
    head = {"ToUserName": original_id(post.account), "FromUserName": SENDER, "CreateTime": int(world.now())}
    return {**head, "MsgType": "event", "Event": name_of(post), **told}


def _publish(post: Post) -> dict[str, Any]:
    job = job_of(post)
    told = {"publish_id": int(job["publish_id"]), "publish_status": job["publish_status"]}
    more = {name: job[name] for name in ("article_id", "article_detail") if name in job}
    return told | more | ({"fail_idx": job["fail_idx"]} if job["fail_idx"] else {})


def _mass(post: Post, world: World) -> dict[str, Any]:
    mass, articles = post.extra["mass"], post.extra["articles"] if post.extra["mass"]["kind"] == "mpnews" else []
    sent = mass["sent"] if post.state == "live" else 0
    checked = [_checked(index) for index in range(1, len(articles) + 1)]
    urls = [
        {"ArticleIdx": index, "ArticleUrl": article_url(post.account, post.extra["publish_id"], index)}
        for index in range(1, len(articles) + 1)
        if post.state == "live"
    ]
    return {
        "MsgID": mass["msg_id"],
        "Status": _status_of(post, world),
        "TotalCount": mass["total"],
        "FilterCount": mass["sent"],
        "SentCount": sent,
        "ErrorCount": mass["sent"] - sent,
        "CopyrightCheckResult": {
            "Count": len(checked),
            "ResultList": {"item": checked},
            "CheckState": NOT_A_REPRINT,
        },
        "ArticleUrlResult": {"Count": len(urls), "ResultList": {"item": urls}},
    }


def _checked(index: int) -> dict[str, Any]:
    own = {"UserDeclareState": 0, "AuditState": 2, "OriginalArticleUrl": "", "OriginalArticleType": 0}
    return {"ArticleIdx": index, **own, "CanReprint": 0, "NeedReplaceContent": 0, "NeedShowReprintSource": 0}


def _status_of(post: Post, world: World) -> str:
    if post.state == "live":
        return "send success"
    until = post.review.get("confirm_until")
    code = post.review.get("status")
    if until is not None:
        code = ADMIN_SILENT if world.now() >= until else ADMIN_REFUSED
    return f"err({code})" if code else "send fail"


def as_xml(event: Mapping[str, Any]) -> str:
    return f"<xml>{_inside(event)}</xml>"


def _inside(event: Mapping[str, Any]) -> str:
    return "".join(_element(name, value) for name, value in event.items())


def _element(name: str, value: object) -> str:
    if isinstance(value, Mapping):
        return f"<{name}>{_inside(value)}</{name}>"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "".join(_element(name, each) for each in value)
    return f"<{name}>{value if isinstance(value, int) else f'<![CDATA[{value}]]>'}</{name}>"
