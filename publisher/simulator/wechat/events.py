"""The events at the end of a job, as XML (developers.weixin.qq.com, Callback_on_finish and Batch_Sends)."""

from collections.abc import Mapping, Sequence
from typing import Any

from publisher.simulator.state import SimulatedPost, SimulatorState

from .ids import build_article_url, make_original_id
from .publish import format_job

PUBLISH_EVENT, MASS_SEND_EVENT = "PUBLISHJOBFINISH", "MASSSENDJOBFINISH"
SENDER_NAME = "mphelper"
"""A helper account of the platform, not a follower."""
NOT_A_REPRINT = 1


def get_event_name(post: SimulatedPost) -> str:
    return MASS_SEND_EVENT if "mass" in post.extra else PUBLISH_EVENT


def make_event(post: SimulatedPost, state: SimulatorState) -> dict[str, Any]:
    """Return the event at the end of a post's job; numbers stay bare, texts become CDATA, lists repeat their name."""
    if "mass" in post.extra:
        fields = _make_mass_send_fields(post)
    else:
        job = format_job(post)
        info = {"publish_id": int(job["publish_id"]), "publish_status": job["publish_status"]}
        info |= {name: job[name] for name in ("article_id", "article_detail", "fail_idx") if job.get(name)}
        fields = {"PublishEventInfo": info}
    head = {"ToUserName": make_original_id(post.account), "FromUserName": SENDER_NAME, "CreateTime": int(state.now())}
    return {**head, "MsgType": "event", "Event": get_event_name(post), **fields}


def _make_mass_send_fields(post: SimulatedPost) -> dict[str, Any]:
    mass = post.extra["mass"]
    indexes = range(1, len(post.extra["articles"]) + 1) if mass["kind"] == "mpnews" else range(0)
    sent = mass["sent"] if post.state == "live" else 0
    checked = [
        {
            "ArticleIdx": index,
            "UserDeclareState": 0,
            "AuditState": 2,
            "OriginalArticleUrl": "",
            "OriginalArticleType": 0,
            "CanReprint": 0,
            "NeedReplaceContent": 0,
            "NeedShowReprintSource": 0,
        }
        for index in indexes
    ]
    urls = [
        {"ArticleIdx": index, "ArticleUrl": build_article_url(post.account, post.extra["publish_id"], index)}
        for index in indexes
        if post.state == "live"
    ]
    if post.state == "live":
        status = "send success"
    else:
        code = post.review.get("status")
        status = f"err({code})" if code else "send fail"
    return {
        "MsgID": mass["msg_id"],
        "Status": status,
        "TotalCount": mass["total"],
        "FilterCount": mass["sent"],
        "SentCount": sent,
        "ErrorCount": mass["sent"] - sent,
        "CopyrightCheckResult": {"Count": len(checked), "ResultList": {"item": checked}, "CheckState": NOT_A_REPRINT},
        "ArticleUrlResult": {"Count": len(urls), "ResultList": {"item": urls}},
    }


def to_xml(event: Mapping[str, Any]) -> str:
    return f"<xml>{_format_content(event)}</xml>"


def _format_content(event: Mapping[str, Any]) -> str:
    return "".join(_format_element(name, value) for name, value in event.items())


def _format_element(name: str, value: object) -> str:
    if isinstance(value, Mapping):
        return f"<{name}>{_format_content(value)}</{name}>"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "".join(_format_element(name, each) for each in value)
    return f"<{name}>{value if isinstance(value, int) else f'<![CDATA[{value}]]>'}</{name}>"
