"""Tieba's responses, in the format of the calling client.

They have HTTP 200 and an error code of their own.
"""

import time
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse

from .protobuf import MessageSchema, encode
from .protobuf_schemas import CREATED_SCHEMA, ERROR_SCHEMA, MESSAGE_TYPES

PC_PATHS = frozenset({"/c/u/feed/myThread", "/c/s/pc/sync"})
ERROR_TEXTS = {
    "1": "用户未登录或登录失败，请更换账号或重试",
    "5": "请输入验证码",
    "110001": "未知错误",
    "100023": "用户未登录",
    "2000": "内容格式有误",
    "210009": "系统繁忙",
    "220011": "标题或内容过长",
    "220012": "您的账号已被封禁",
    "220015": "内容包含不合适的词语",
    "220034": "您的操作太频繁了",
    "224011": "请点击验证码完成发贴",
    "230004": "用户未登录",
    "230008": "发送成功，内容正在审核",
    "230020": "字数太少",
    "230046": "内容过长",
    "230265": "用户未登录",
    "230273": "贴子已被删除",
    "230274": "吧不存在",
    "230277": "该贴已关闭回复",
    "230308": "用户没有权限",
    "230705": "本吧暂时只能浏览",
    "230809": "图片数量超过限制",
    "230814": "表情数量超过限制",
    "230871": "发贴太频繁",
    "230961": "图片地址有误",
    "232000": "内容格式有误",
    "340001": "本吧已关闭",
    "340012": "关注本吧后才能发贴",
    "400013": "您已被本吧拉黑",
    "1990032": "等级不足三级",
    "2230201": "图片格式错误",
    "2230204": "上传失败",
    "3250004": "您已被本吧封禁",
}
CAPTCHA_CODE, FORMER_CAPTCHA_CODE = "5", "224011"
BANNED_CODE, BANNED_IN_FORUM_CODE = "220012", "3250004"
BAD_WORDS_CODE = "220015"
MISSING_THREAD_CODE = 273
NO_RESTRICTIONS = {
    "block_stat": 0,
    "hide_stat": 0,
    "vcode_stat": 0,
    "days_tofree": 0,
    "has_chance": 0,
}
"""The restrictions of an ordinary account."""
ID_KEYS = ("tid", "pid")
BINARY_CONTENT_TYPE = "application/octet-stream"
NO_ERROR = {"errorno": 0, "errmsg": ""}


class ClientType(Enum):
    APP_FORM = "app form"
    APP_PROTOBUF = "app protobuf"
    PC_SITE = "new PC site"
    FORMER_SITE = "former web site"


def get_client_type(request: ApiRequest) -> ClientType:
    if request.endpoint.startswith(("/f/", "/dc/")):
        return ClientType.FORMER_SITE
    if request.endpoint.endswith("_pc") or request.endpoint in PC_PATHS:
        return ClientType.PC_SITE
    return (
        ClientType.APP_PROTOBUF
        if request.endpoint in MESSAGE_TYPES
        else ClientType.APP_FORM
    )


def refuse(
    request: ApiRequest,
    code: str,
    message: str | None = None,
    *,
    words: Sequence[str] = ("示例词",),
    restrictions: Mapping[str, Any] | None = None,
) -> ApiResponse:
    """Refuse a call in the format of its client.

    `words` are the forbidden ones, `restrictions` the account's.
    """
    text = ERROR_TEXTS.get(code, "未知错误") if message is None else message
    client_type = get_client_type(request)
    # a short and a long code as clients have seen, no text with a captcha
    if client_type is ClientType.FORMER_SITE:
        long = int(FORMER_CAPTCHA_CODE if code == CAPTCHA_CODE else code)
        short = long % 10_000 if 200_000 <= long < 300_000 else long
        former: dict[str, object] = {"error": text, "data": None}
        if _is_captcha_required(request, code):
            vcode = {
                "need_vcode": 1,
                "captcha_vcode_str": "captchaservice0001",
                "captcha_code_type": 4,
            }
            former = {"error": None, "data": {"vcode": vcode}}
        return ApiResponse.from_json({"no": short, "err_code": long, **former})
    body = {
        **_make_error_details(request, code, words, restrictions),
        "ctime": 0,
        "logid": request.event_number,
    }
    if client_type is not ClientType.APP_PROTOBUF:
        return ApiResponse.from_json(
            {"error_code": code, "error_msg": text, "info": [], **body}
        )
    error = {"errorno": int(code), "errmsg": text, "usermsg": text}
    return _make_protobuf_response(
        error, CREATED_SCHEMA, {"info": {"need_vcode": "0"}, **body}
    )


def _make_error_details(
    request: ApiRequest,
    code: str,
    words: Sequence[str],
    restrictions: Mapping[str, Any] | None,
) -> dict[str, Any]:
    if _is_captcha_required(request, code):
        info = {
            "need_vcode": "1",
            "vcode_md5": "ab12cd34",
            "vcode_type": "4",
            "vcode_pic_url": "",
        }
        return {
            "info": info,
            "anti_stat": format_restrictions(
                request, restrictions or {"vcode_stat": 1}
            ),
        }
    if code in (BANNED_CODE, BANNED_IN_FORUM_CODE):
        restrictions = restrictions or {
            "block_stat": 3 if code == BANNED_IN_FORUM_CODE else 2,
            "days_tofree": 3,
        }
        return {"anti_stat": format_restrictions(request, restrictions)}
    if code == BAD_WORDS_CODE:
        return {
            "info": {
                "need_vcode": "0",
                "confilter_hitwords": list(words),
                "access_state": [],
            }
        }
    return {}


def _is_captcha_required(request: ApiRequest, code: str) -> bool:
    return (
        code in (CAPTCHA_CODE, FORMER_CAPTCHA_CODE)
        or request.get_fault("captcha") is not None
    )


def format_restrictions(
    request: ApiRequest, restrictions: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an account's restrictions: numbers in Protocol Buffers, texts in JSON."""
    convert = int if get_client_type(request) is ClientType.APP_PROTOBUF else str
    return {
        name: convert(int(restrictions.get(name, default)))
        for name, default in NO_RESTRICTIONS.items()
    }


def make_read_response(request: ApiRequest, data: Mapping[str, Any]) -> ApiResponse:
    """Return the success of a read.

    The error code is a number on the PC site, a text in the app.
    """
    client_type = get_client_type(request)
    if client_type is ClientType.APP_PROTOBUF:
        return _make_protobuf_response(
            NO_ERROR, MESSAGE_TYPES[request.endpoint].response, data
        )
    if client_type is ClientType.PC_SITE:
        return ApiResponse.from_json({"error_code": 0, "error_msg": "", **data})
    log = {
        "ctime": 0,
        "logid": request.event_number,
        "server_time": "20110",
        "time": int(time.time()),
    }
    return ApiResponse.from_json({"error_code": "0", "error_msg": "", **data, **log})


def make_done_response(request: ApiRequest) -> ApiResponse:
    """Return the success of a write that creates nothing."""
    return ApiResponse.from_json(
        {"error_code": "0", "error_msg": "", "ctime": 0, "logid": request.event_number}
    )


def make_created_response(
    request: ApiRequest, tid: str, pid: str, restrictions: Mapping[str, Any]
) -> ApiResponse:
    """Return the success of a write that created a thread or a reply."""
    body: dict[str, Any] = {"tid": tid, "pid": pid, "msg": "发送成功", "opgroup": "0"}
    if get_client_type(request) is ClientType.PC_SITE:
        shown = (
            {"anti_stat": format_restrictions(request, restrictions)}
            if any(restrictions.values())
            else {}
        )
        return ApiResponse.from_json({"error_code": "0", **body, **shown})
    body |= {
        "info": {"need_vcode": "0"},
        "anti_stat": format_restrictions(request, restrictions),
    }
    if request.get_fault("no_id"):
        body = {name: value for name, value in body.items() if name not in ID_KEYS}
    return _make_protobuf_response(NO_ERROR, CREATED_SCHEMA, body)


def make_missing_response(request: ApiRequest) -> ApiResponse:
    """Return the response of a read of an invisible thread.

    The platform's real code is not known for certain.
    """
    text = ERROR_TEXTS["230273"]
    if get_client_type(request) is ClientType.APP_PROTOBUF:
        return _make_protobuf_response(
            {"errorno": MISSING_THREAD_CODE, "errmsg": text}, {}, {}
        )
    return ApiResponse.from_json({"error_code": MISSING_THREAD_CODE, "error_msg": text})


def _make_protobuf_response(
    error: Mapping[str, Any], schema: MessageSchema, data: Mapping[str, Any]
) -> ApiResponse:
    return ApiResponse(
        encode(
            {"error": (1, ERROR_SCHEMA), "data": (2, schema)},
            {"error": error, "data": data},
        ),
        content_type=BINARY_CONTENT_TYPE,
    )
