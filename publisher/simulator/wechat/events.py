"""What is told at the end of a job, as XML (developers.weixin.qq.com, Callback_on_finish and Batch_Sends)."""

from collections.abc import Mapping, Sequence
from typing import Any

from publisher.simulator.state import SimulatedPost, SimulatorState

from .ids import build_article_url, make_original_id
from .publish import format_job

PUBLISH_EVENT, MASS_SEND_EVENT = "PUBLISHJOBFINISH", "MASSSENDJOBFINISH"
SENDER_NAME = "mphelper"
"""A helper account of the platform's, no follower."""
ADMIN_REFUSED, ADMIN_TIMEOUT = 40001, 40002
NOT_A_REPRINT = 1


def get_event_name(post: SimulatedPost) -> str:
    return MASS_SEND_EVENT if "mass" in post.extra else PUBLISH_EVENT


def make_event(post: SimulatedPost, state: SimulatorState) -> dict[str, Any]:
    """The event at the end of a post's job; numbers stay bare, texts become CDATA, lists repeat their name."""
    told = (
        _make_mass_send_fields(post, state)
        if "mass" in post.extra
        else {"PublishEventInfo": _make_publish_fields(post)}
    )
    head = {"ToUserName": make_original_id(post.account), "FromUserName": SENDER_NAME, "CreateTime": int(state.now())}
    return {**head, "MsgType": "event", "Event": get_event_name(post), **told}


def _make_publish_fields(post: SimulatedPost) -> dict[str, Any]:
    job = format_job(post)
    told = {"publish_id": int(job["publish_id"]), "publish_status": job["publish_status"]}
    more = {name: job[name] for name in ("article_id", "article_detail") if name in job}
    return told | more | ({"fail_idx": job["fail_idx"]} if job["fail_idx"] else {})


def _make_mass_send_fields(post: SimulatedPost, state: SimulatorState) -> dict[str, Any]:
    mass, articles = post.extra["mass"], post.extra["articles"] if post.extra["mass"]["kind"] == "mpnews" else []
    sent = mass["sent"] if post.state == "live" else 0
    checked = [_make_copyright_result(index) for index in range(1, len(articles) + 1)]
    urls = [
        {"ArticleIdx": index, "ArticleUrl": build_article_url(post.account, post.extra["publish_id"], index)}
        for index in range(1, len(articles) + 1)
        if post.state == "live"
    ]
    return {
        "MsgID": mass["msg_id"],
        "Status": _format_mass_status(post, state),
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


def _make_copyright_result(index: int) -> dict[str, Any]:
    own = {"UserDeclareState": 0, "AuditState": 2, "OriginalArticleUrl": "", "OriginalArticleType": 0}
    return {"ArticleIdx": index, **own, "CanReprint": 0, "NeedReplaceContent": 0, "NeedShowReprintSource": 0}


def _format_mass_status(post: SimulatedPost, state: SimulatorState) -> str:
    if post.state == "live":
        return "send success"
    until = post.review.get("confirm_until")
    code = post.review.get("status")
    if until is not None:
        code = ADMIN_TIMEOUT if state.now() >= until else ADMIN_REFUSED
    return f"err({code})" if code else "send fail"


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
