"""Tieba's answers: HTTP 200 and a number of its own, in the dialect of the call."""

import time
from collections.abc import Mapping
from typing import Any

from publisher.simulator.call import Answer, Call

from .dialects import Dialect, dialect_of
from .protobuf import Shape, encode
from .shapes import ADDED, ERROR, MESSAGES

TEXTS = {
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
CAPTCHA, FORMER_CAPTCHA = "5", "224011"
BANNED, BANNED_HERE = "220012", "3250004"
BAD_WORDS = "220015"
CALM = {"block_stat": 0, "hide_stat": 0, "vcode_stat": 0, "days_tofree": 0, "has_chance": 0}
"""An account nobody has anything against."""
IDS = ("tid", "pid")
OCTETS = "application/octet-stream"
FINE = {"errorno": 0, "errmsg": ""}


def refuse(call: Call, code: str, message: str | None = None, **facts: object) -> Answer:
    """Say no, with `words` that offended or a `standing` where one is the reason."""
    text = TEXTS.get(code, "未知错误") if message is None else message
    dialect = dialect_of(call)
    if dialect is Dialect.FORMER:
        return _former_refusal(call, code, text)
    body = {**_reason(call, code, facts), "ctime": 0, "logid": call.number}
    if dialect is not Dialect.MESSAGE:
        return Answer.of({"error_code": code, "error_msg": text, "info": [], **body})
    error = {"errorno": int(code), "errmsg": text, "usermsg": text}
    return _message(error, ADDED, {"info": {"need_vcode": "0"}, **body})


def _reason(call: Call, code: str, facts: Mapping[str, object]) -> dict[str, Any]:
    standing = facts.get("standing")
    if wants_captcha(call, code):
        info = {"need_vcode": "1", "vcode_md5": "ab12cd34", "vcode_type": "4", "vcode_pic_url": ""}
        return {"info": info, "anti_stat": shown_standing(call, standing or {"vcode_stat": 1})}
    if code in (BANNED, BANNED_HERE):
        standing = standing or {"block_stat": 3 if code == BANNED_HERE else 2, "days_tofree": 3}
        return {"anti_stat": shown_standing(call, standing)}
    if code == BAD_WORDS:
        words = facts.get("words") or ["示例词"]
        return {"info": {"need_vcode": "0", "confilter_hitwords": words, "access_state": []}}
    return {}


def wants_captcha(call: Call, code: str) -> bool:
    return code in (CAPTCHA, FORMER_CAPTCHA) or call.fault("captcha") is not None


def shown_standing(call: Call, standing: object) -> dict[str, Any]:
    """An account's standing: numbers in a message, texts in JSON."""
    known = standing if isinstance(standing, Mapping) else {}
    shown = {name: int(known.get(name, calm)) for name, calm in CALM.items()}
    return dict(shown) if dialect_of(call) is Dialect.MESSAGE else {name: str(each) for name, each in shown.items()}


def _former_refusal(call: Call, code: str, text: str) -> Answer:
    """The former site has a short and a long number, and no words where a captcha is wanted."""
    wanted = wants_captcha(call, code)
    long = int(FORMER_CAPTCHA if code == CAPTCHA else code)
    data = {"vcode": {"need_vcode": 1, "captcha_vcode_str": "captchaservice0001", "captcha_code_type": 4}}
    body = {"error": None, "data": data} if wanted else {"error": text, "data": None}
    return Answer.of({"no": short_number(long), "err_code": long, **body})


def short_number(long: int) -> int:
    """The short number that clients of the former site have seen beside the long one."""
    return long % 10_000 if 200_000 <= long < 300_000 else long


def read(call: Call, data: Mapping[str, Any]) -> Answer:
    """The good answer of a read: the number is a number on the PC site, a text in the app."""
    dialect = dialect_of(call)
    if dialect is Dialect.MESSAGE:
        return _message(FINE, MESSAGES[call.endpoint].answer, data)
    if dialect is Dialect.PC:
        return Answer.of({"error_code": 0, "error_msg": "", **data})
    return Answer.of({"error_code": "0", "error_msg": "", **data, **_stamps(call)})


def done(call: Call) -> Answer:
    """The good answer of a write that makes nothing."""
    return Answer.of({"error_code": "0", "error_msg": "", "ctime": 0, "logid": call.number})


def added(call: Call, tid: str, pid: str, standing: Mapping[str, Any]) -> Answer:
    """The good answer of a write that made a thread or a floor."""
    ids = {"tid": tid, "pid": pid}
    dialect = dialect_of(call)
    body: dict[str, Any] = {**ids, "msg": "发送成功", "opgroup": "0"}
    if dialect is Dialect.PC:
        shown = {"anti_stat": shown_standing(call, standing)} if any(standing.values()) else {}
        return Answer.of({"error_code": "0", **body, **shown})
    body |= {"info": {"need_vcode": "0"}, "anti_stat": shown_standing(call, standing)}
    if dialect is Dialect.FORM:
        return Answer.of({"error_code": "0", **body, **_stamps(call)})
    if call.fault("no_id"):
        body = {name: value for name, value in body.items() if name not in IDS}
    return _message(FINE, ADDED, body)


def missing(call: Call, code: int) -> Answer:
    """The answer of a read whose thread is not to be seen; the real number is not known for sure."""
    text = TEXTS["230273"]
    if dialect_of(call) is Dialect.MESSAGE:
        return _message({"errorno": code, "errmsg": text}, {}, {})
    if dialect_of(call) is Dialect.PC:
        return Answer.of({"error_code": code, "error_msg": text})
    return Answer.of({"error_code": str(code), "error_msg": text, **_stamps(call)})


def _message(error: Mapping[str, Any], shape: Shape, data: Mapping[str, Any]) -> Answer:
    return Answer(encode({"error": (1, ERROR), "data": (2, shape)}, {"error": error, "data": data}), type=OCTETS)


def _stamps(call: Call) -> dict[str, Any]:
    return {"ctime": 0, "logid": call.number, "server_time": "20110", "time": int(time.time())}
