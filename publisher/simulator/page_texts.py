"""The texts on the pages, in Chinese and English, and how a page is rendered with them."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "pages"),
    autoescape=True,
    trim_blocks=True,
)
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
PAGE_TEXTS = {
    "title": ("模拟平台", "Simulated platforms"),
    "ribbon": ("模拟环境 · 非真实平台", "Simulation, not the real platforms"),
    "lead": (
        "三个平台的模拟版，所见即公众所见。",
        "Three simulated platforms; what you see is what the public sees.",
    ),
    "index": ("全部账号", "All accounts"),
    "other": ("English", "中文"),
    "weibo": ("微博", "Weibo"),
    "wechat": ("微信公众号", "WeChat Official Accounts"),
    "tieba": ("百度贴吧", "Baidu Tieba"),
    "accounts": ("个账号", "accounts"),
    "posts": ("条", "posts"),
    "removed": ("已删除", "Deleted"),
    "review": ("审核中", "In review"),
    "refused": ("未通过审核", "Refused by review"),
    "hidden": ("仅作者可见", "Visible to its author only"),
    "nothing": ("还没有内容", "Nothing here yet"),
    "nobody": ("还没有账号", "No account yet"),
    "newer": ("较新", "Newer"),
    "older": ("较早", "Older"),
    "verified": ("政务机构官方认证", "Verified government body"),
    "source": ("来自", "from"),
    "app": ("平安发布", "Ping'an Publisher"),
    "by_hand": ("微博网页版", "Weibo web"),
    "link": ("网页链接", "Web link"),
    "repost": ("转发", "Repost"),
    "comment": ("评论", "Comment"),
    "like": ("赞", "Like"),
    "service": ("已认证", "Verified"),
    "originals": ("篇文章", "articles"),
    "follow": ("关注公众号", "Follow"),
    "original": ("阅读原文", "Read the original"),
    "reads": ("阅读", "Reads"),
    "refused_link": (
        "（正文含站外链接，平台不予显示）",
        "(The text links elsewhere; the platform does not show it.)",
    ),
    "poster": ("发帖人", "Posted by"),
    "threads": ("个主题", "threads"),
    "bar": ("吧", " Bar"),
    "opener": ("楼主", "Thread author"),
    "reply_number": ("{}楼", "Reply {}"),
    "now": ("刚刚", "just now"),
    "minutes": ("{}分钟前", "{} min ago"),
    "today": ("今天", "today"),
    "consent": ("授权登录", "Authorise an app"),
    "consent_lead": (
        "应用 {} 请求以您的微博账号发布和读取内容。",
        "App {} asks to post and to read in the name of your account.",
    ),
    "which_account": ("以哪个账号授权", "Account to authorise it for"),
    "other_account": ("或填写其他账号的 UID", "Or the UID of another account"),
    "allow": ("授权", "Authorise"),
    "deny": ("取消", "Cancel"),
    "code_lead": (
        "授权成功。请复制授权码，粘贴到请求授权的程序中：",
        "Authorised. Copy this code into the program that asked for it:",
    ),
    "no_code": ("未获得授权", "Not authorised"),
}


def get_page_texts(language: str) -> dict[str, str]:
    return {name: texts[language == "en"] for name, texts in PAGE_TEXTS.items()}


def render_page(name: str, language: str, switch: str, **facts: object) -> str:
    """Render a page; `switch` is the query that leads to the same page in the other language."""
    tail = "?lang=en" if language == "en" else ""
    words = get_page_texts(language)
    return TEMPLATES.get_template(name).render(
        words=words, lang=language, tail=tail, switch=switch, **facts
    )
