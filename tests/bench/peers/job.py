"""The job of every peer: one post to Weibo's share call, of publisher's size.

It uses the standard library only.
"""

IN_FLIGHT = 64
ACCOUNTS = 150
FIRST_UID = 1_400_000_001
TEXT = (
    "【橙色预警】警惕“退款客服”诈骗第{number}期\n凡自称客服要求转账退款的都是诈骗，请挂断\n\n正规退款原路退回，不需要转账。"
    "自称客服要求转账退款的都是诈骗，请挂断并拨打报警电话。\n报警电话：110\n举报电话：12377 https://example.gov.cn/tips\n"
    "https://example.gov.cn/n/{number}"
)


def job_of(number: int) -> tuple[str, str]:
    """Return the login and the text of a post."""
    return str(FIRST_UID + number % ACCOUNTS), TEXT.format(number=number)


def request_of(
    base_url: str, login: str, text: str
) -> tuple[str, dict[str, str], dict[str, str]]:
    """Return URL, headers and form of the call."""
    headers = {"authorization": f"OAuth2 {login}", "connection": "close"}
    return (
        f"{base_url}/2/statuses/share.json",
        headers,
        {"status": text, "rip": "192.0.2.1"},
    )
