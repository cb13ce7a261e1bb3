"""Tieba's answers: HTTP 200 and `error_code`, in writes a string."""

from typing import Any

from publisher.simulator.call import Answer, Call

TEXTS = {
    "5": "请输入验证码",
    "110001": "未知错误",
    "100023": "用户未登录",
    "2000": "内容格式有误",
    "210009": "系统繁忙",
    "220011": "标题或内容过长",
    "220012": "您的账号已被封禁",
    "220015": "内容包含不合适的词语",
    "220034": "您的操作太频繁了",
    "230004": "用户未登录",
    "230008": "发送成功，内容正在审核",
    "230020": "字数太少",
    "230046": "内容过长",
    "230265": "用户未登录",
    "230273": "贴子已被删除",
    "230274": "吧不存在",
    "230308": "用户没有权限",
    "230809": "图片数量超过限制",
    "230871": "发贴太频繁",
    "230961": "图片地址有误",
    "2230201": "图片格式错误",
    "2230204": "上传失败",
    "3250004": "您已被本吧封禁",
}
CAPTCHA = "5"
BANNED = {"220012", "3250004"}


def refuse(call: Call, code: str, message: str | None = None) -> Answer:
    body: dict[str, Any] = {
        "error_code": code,
        "error_msg": TEXTS.get(code, "未知错误") if message is None else message,
        "info": [],
        "ctime": 0,
        "logid": call.number,
    }
    if code == CAPTCHA:
        body["info"] = {"need_vcode": "1", "vcode_md5": "ab12cd34", "vcode_type": "4", "vcode_pic_url": ""}
        body["anti_stat"] = _standing(vcode_stat="1")
    elif code in BANNED:
        body["anti_stat"] = _standing(block_stat="3" if code == "3250004" else "2", days_tofree="3")
    elif code == "220015":
        body["info"] = {"need_vcode": "0", "confilter_hitwords": ["示例词"], "access_state": []}
    return Answer.of(body)


def _standing(**changes: str) -> dict[str, str]:
    return {"block_stat": "0", "hide_stat": "0", "vcode_stat": "0", "days_tofree": "0", "has_chance": "0", **changes}


def read(data: dict[str, Any]) -> Answer:
    """The good answer of a read: the code is a number there."""
    return Answer.of({"error_code": 0, "error_msg": "", **data})
