"""Shared helpers of the Tieba adapter tests.

An account, a mocked platform, and answers in the platform's format.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx

from adapters.tieba import TIEBA
from publisher.contract import Adapter
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.results import Receipt
from tests.adapters.conftest import MockServer

PORTRAIT = "tb.1.abcdef.example"
TITLE = "警惕“退款客服”诈骗"
TEXT = "〔K7QM-4R2T〕\r\n不转账、不透露验证码。"
NUMBER = 77
"""The account's number: real posts name their author by it."""
AUTHOR = {"id": NUMBER, "name": "示例", "portrait": f"{PORTRAIT}?t=1700000000"}
TID = "10990000001"
FID = 1234
WEB = "https://tieba.baidu.com"
TBS = f"{WEB}/dc/common/tbs"
FORUM = f"{WEB}/f/commit/share/fnameShareApi"
STANDING = f"{WEB}/c/s/pc/sync"
SIGN_IN = "https://tiebac.baidu.com/c/s/login"
ADD = f"{WEB}/c/c/thread/add_pc"
UPLOAD = f"{WEB}/c/s/uploadPicture_pc"
LIST = f"{WEB}/c/u/feed/myThread"
PAGE = f"{WEB}/c/f/pb/page_pc"
DELETE = "https://tiebac.baidu.com/c/c/bawu/delthread"
MADE = datetime(2026, 11, 24, 4, 0, 31, tzinfo=UTC)
RECEIPT = Receipt(remote_id=TID, url=f"{WEB}/p/{TID}", published_at=MADE)


def account(**changes) -> Account:
    return replace(
        Account(
            id=AccountId("beijing-tieba"),
            platform=Platform("tieba"),
            identity=PORTRAIT,
            secret="tieba-beijing",
            forum="天气",
            has_accepted_risk=True,
        ),
        **changes,
    )


def server_for(make_server, **changes) -> tuple[Adapter, MockServer]:
    """Return an adapter and a mocked platform with session, account status and forum in order."""
    server = make_server({"BDUSS": "B" * 192, "STOKEN": "S" * 64})
    server.router.get(TBS).respond(
        200, json={"tbs": "17634e03cbe25e6e1674526199", "is_login": 1}
    )
    server.router.get(STANDING).mock(return_value=account_status())
    server.router.post(SIGN_IN).mock(return_value=account_status())
    server.router.get(FORUM).respond(
        200, json={"no": 0, "error": "success", "data": {"fid": FID}}
    )
    return TIEBA.create(account(**changes), server.context()), server


def account_status(user: dict | None = None, **anti) -> httpx.Response:
    body = {
        "error_code": 0,
        "user": {"is_login": 1, **(user or {})},
        "anti": {"tbs": "t", **anti},
    }
    return httpx.Response(200, json=body)


def opened(**more) -> dict:
    return {
        "error_code": "0",
        "tid": TID,
        "pid": "150000000001",
        "msg": "发送成功",
        "opgroup": "0",
        **more,
    }


def entry(
    tid: str,
    title: str = "别的",
    text: str = "",
    at: datetime = MADE,
    fid: int = FID,
    **more,
) -> dict:
    info = {
        "id": int(tid),
        "tid": int(tid),
        "title": title,
        "create_time": int(at.timestamp()),
        "fid": fid,
        "abstract": [{"type": 0, "text": text}],
        "author_id": NUMBER,
        "author": AUTHOR,
        **more,
    }
    return {"type": 1, "private": 0, "thread_info": info}


def threads(*entries: dict, has_more: int = 0) -> httpx.Response:
    return httpx.Response(
        200,
        json={"error_code": 0, "data": {"has_more": has_more, "list": list(entries)}},
    )


def page(tid: str = TID, **thread) -> httpx.Response:
    body = {
        "error_code": 0,
        "thread": {
            "id": int(tid),
            "title": TITLE,
            "create_time": int(MADE.timestamp()),
            "author": AUTHOR,
            **thread,
        },
        "first_floor": {"id": 150000000001, "content": [{"type": 0, "text": TEXT}]},
        "post_list": [],
    }
    return httpx.Response(200, json=body)


OLD = entry("10980000001", "旧闻", at=MADE - timedelta(hours=3))
NOT_THERE = httpx.Response(
    200, json={"error_code": "230273", "error_msg": "贴子已被删除"}
)
