"""Headline articles: long words behind a short post (open.weibo.com wiki Toutiao/api, 2022-11-29)."""

from urllib.parse import unquote

from publisher.simulator.request import ApiRequest, ApiResponse

from .post import NewWeiboPost, WeiboPostWriter
from .responses import refuse
from .sign_in import SimulatedWeiboAuth

SUCCESS_CODE = "100000"
FIELD_LIMITS = {"title": 32, "content": 90_000, "cover": 0, "text": 1900}
"""What is needed, and how many characters it may have; 0 for any."""
INVALID_PARAMETER, TOO_FREQUENT = 10008, 11001


class ArticleEndpoint:
    """Its answers have an envelope of their own; a missing grant comes in the usual body."""

    def __init__(self, auth: SimulatedWeiboAuth, writer: WeiboPostWriter) -> None:
        self._auth = auth
        self._writer = writer

    def __call__(self, request: ApiRequest) -> ApiResponse:
        return (
            self._auth.check(request, "POST", "article", is_publishing=True)
            or self._check_parameters(request)
            or self._check_words(request)
            or self._publish(request)
        )

    def _check_parameters(self, request: ApiRequest) -> ApiResponse | None:
        for name, limit in FIELD_LIMITS.items():
            given = _get_parameter(request, name)
            if not given.strip() or (limit and len(given) > limit):
                return refuse(request, INVALID_PARAMETER, message=f"param {name} invalid")
        if not _get_parameter(request, "cover").startswith(("http://", "https://")):
            return refuse(request, INVALID_PARAMETER, message="param cover invalid")
        is_strict = self._writer.state.behaviour.weibo_rip == "strict"
        return (
            refuse(request, INVALID_PARAMETER, message="param rip invalid")
            if is_strict and not request.get_parameter("rip")
            else None
        )

    def _check_words(self, request: ApiRequest) -> ApiResponse | None:
        likeness = self._writer.content_rules
        if likeness.is_too_soon(request.account):
            return refuse(request, TOO_FREQUENT)
        code = likeness.find_forbidden_code(
            "".join(_get_parameter(request, name) for name in ("title", "content", "text"))
        )
        return refuse(request, code) if code else None

    def _publish(self, request: ApiRequest) -> ApiResponse:
        """The post that leads to the article carries its address; in review it has a number already."""
        mid, title, html = self._writer.next_id(), _get_parameter(request, "title"), _get_parameter(request, "content")
        number = f"2309404{mid}"
        address = f"https://weibo.com/ttarticle/p/show?id={number}"
        article = {"title": title, "content": html, "author": "", "content_source_url": ""}
        text = f"{_get_parameter(request, 'text')} {address}"
        self._writer.create_post(
            request, NewWeiboPost(id=mid, text=text, extra={"articles": [article]}, title=title, html=html)
        )
        return ApiResponse.from_json(
            {"code": SUCCESS_CODE, "msg": "", "data": {"object_id": f"1022:{number}", "url": address, "mid": mid}}
        )


def _get_parameter(request: ApiRequest, name: str) -> str:
    """A parameter; the content is percent-encoded by the caller, on top of what its transport does."""
    text = request.get_parameter(name) or ""
    return unquote(text) if name == "content" else text
