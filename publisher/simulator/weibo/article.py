"""Headline articles: a long text behind a short post (open.weibo.com wiki Toutiao/api, 2022-11-29)."""

from urllib.parse import unquote

from publisher.simulator.request import ApiRequest, ApiResponse

from .post import NewWeiboPost, WeiboPostWriter
from .responses import refuse
from .sign_in import SimulatedWeiboAuth

SUCCESS_CODE = "100000"
FIELD_LIMITS = {"title": 32, "content": 90_000, "cover": 0, "text": 1900}
"""The required fields, each with its maximum length in characters; 0 for no limit."""
INVALID_PARAMETER, TOO_FREQUENT = 10008, 11001


class ArticleEndpoint:
    """Responses have an envelope of their own, except for a missing grant, which comes in the usual body."""

    def __init__(self, auth: SimulatedWeiboAuth, writer: WeiboPostWriter) -> None:
        self._auth = auth
        self._writer = writer

    def __call__(self, request: ApiRequest) -> ApiResponse:
        refusal = self._auth.check(request, "POST", "article", is_publishing=True) or self._check(request)
        if refusal:
            return refusal
        mid, title, html = self._writer.next_id(), _get_parameter(request, "title"), _get_parameter(request, "content")
        number = f"2309404{mid}"
        url = f"https://weibo.com/ttarticle/p/show?id={number}"
        article = {"title": title, "content": html, "author": "", "content_source_url": ""}
        text = f"{_get_parameter(request, 'text')} {url}"
        draft = NewWeiboPost(id=mid, text=text, extra={"articles": [article]}, title=title, html=html)
        self._writer.create_post(request, draft)  # also in review the response carries the id
        return ApiResponse.from_json(
            {"code": SUCCESS_CODE, "msg": "", "data": {"object_id": f"1022:{number}", "url": url, "mid": mid}}
        )

    def _check(self, request: ApiRequest) -> ApiResponse | None:
        given = {name: _get_parameter(request, name) for name in FIELD_LIMITS}
        for name, limit in FIELD_LIMITS.items():
            if not given[name].strip() or (limit and len(given[name]) > limit):
                return refuse(request, INVALID_PARAMETER, message=f"param {name} invalid")
        if not given["cover"].startswith(("http://", "https://")):
            return refuse(request, INVALID_PARAMETER, message="param cover invalid")
        if self._writer.state.behaviour.weibo_rip == "strict" and not request.get_parameter("rip"):
            return refuse(request, INVALID_PARAMETER, message="param rip invalid")
        rules = self._writer.content_rules
        if rules.is_too_soon(request.account):
            return refuse(request, TOO_FREQUENT)
        code = rules.find_forbidden_code(given["title"] + given["content"] + given["text"])
        return refuse(request, code) if code else None


def _get_parameter(request: ApiRequest, name: str) -> str:
    """Return a parameter; the caller percent-encodes the content once more than the transport does."""
    text = request.get_parameter(name) or ""
    return unquote(text) if name == "content" else text
