"""Publishing without a push (developers.weixin.qq.com, public/api_freepublish_*).

An accepted submit creates one post at once, which becomes public when its review has passed. The creation is the
submit's acceptance, and one submitted draft is one post, however many articles it contains.
"""

import secrets
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .articles import Article
from .drafts import DraftApi, parse_page
from .ids import build_article_url, make_media_id
from .responses import OK_BODY, refuse

FIRST_JOB_ID = 2_247_483_649
SUCCESS, IN_PROGRESS, REVIEW_REJECTED, DELETED_BY_OWNER, BANNED_BY_SYSTEM = 0, 1, 4, 5, 6


class PublishApi:
    def __init__(self, state: SimulatorState, drafts: DraftApi) -> None:
        self.state = state
        self._drafts = drafts

    def submit(self, request: ApiRequest) -> ApiResponse:
        name = (request.parse_json() or {}).get("media_id")
        draft = self._drafts.find(request, name)
        if draft is None:
            return refuse(request, 40007 if name else 41006)
        if draft.get("submitted") and self.state.behaviour.wechat_repeats == "refuse":
            return refuse(request, 53503)
        post = self.build_post(request, str(name), draft["articles"], make_media_id(secrets.token_hex(8)))
        self.state.create_post(request, post)
        self._drafts.mark_submitted(str(name))
        number = post.extra["publish_id"]
        self.state.put_row("wechat_jobs", str(number), {"post_id": post.id})
        return ApiResponse.from_json({**OK_BODY, "publish_id": number, "msg_data_id": number})

    def build_post(self, request: ApiRequest, draft: str, articles: list[Article], name: str) -> SimulatedPost:
        """Return a post of a draft's articles; its job id is the `mid` in their URLs."""
        now, first = self.state.now(), articles[0]
        pictured = [
            {**article, "pictures": self._drafts.validator.get_picture_digests(article)} for article in articles
        ]
        return SimulatedPost(
            name,
            "wechat",
            request.account,
            now,
            text=str(first["digest"]),
            title=str(first["title"]),
            html=str(first["content"]),
            images=list(dict.fromkeys(digest for article in pictured for digest in article["pictures"])),
            state="review",
            review={"due": now + self.state.behaviour.wechat_review_seconds, "verdict": "pass"},
            extra={"articles": pictured, "publish_id": self.make_job_id(), "draft": draft},
        )

    def make_job_id(self) -> int:
        counter = self.state.get_row("wechat_counter", "jobs") or {"next": FIRST_JOB_ID}
        self.state.put_row("wechat_counter", "jobs", {"next": counter["next"] + 1})
        return int(counter["next"])

    def get(self, request: ApiRequest) -> ApiResponse:
        fields = str((request.parse_json() or {}).get("publish_id") or "")
        job = self.state.get_row("wechat_jobs", fields)
        post = self.state.posts.get(job["post_id"]) if job else None
        if post is None or post.account != request.account:
            return refuse(request, 53502)
        return ApiResponse.from_json(format_job(self.state.apply_read_faults(request, post)))

    def batch_get(self, request: ApiRequest) -> ApiResponse:
        """List posts published without a push, newest first, deleted ones included; mass sends are in no list."""
        fields = request.parse_json() or {}
        posts = [
            post
            for post in reversed(self.state.get_posts("wechat", request.account))
            if "mass" not in post.extra and post.state in ("live", "removed")
        ]
        posts = self.state.apply_list_faults(request, posts)
        start, count = parse_page(fields)
        items = [
            {
                "article_id": post.id,
                "content": self._format_content(
                    self.state.apply_read_faults(request, post), no_content=bool(fields.get("no_content"))
                ),
                "update_time": int(post.created),
            }
            for post in posts[start : start + count]
        ]
        return ApiResponse.from_json({"total_count": len(posts), "item_count": len(items), "item": items})

    def _find_post(self, request: ApiRequest) -> SimulatedPost | None:
        post = self.state.posts.get(str((request.parse_json() or {}).get("article_id") or ""))
        owned = post is not None and (post.platform, post.account) == ("wechat", request.account)
        return post if post and owned and post.state in ("live", "removed") and "mass" not in post.extra else None

    def get_article(self, request: ApiRequest) -> ApiResponse:
        post = self._find_post(request)
        if post is None:
            return refuse(request, 53600)
        return ApiResponse.from_json(
            self._format_content(self.state.apply_read_faults(request, post), no_content=False)
        )

    def delete(self, request: ApiRequest) -> ApiResponse:
        """Delete a post with all its articles; deletion is final, and repeating it is harmless."""
        post = self._find_post(request)
        if post is None:
            return refuse(request, 53600)
        if post.state == "live":
            self.state.remove_post(post, "owner", request)
        return ApiResponse.from_json(OK_BODY)

    def _format_content(self, post: SimulatedPost, *, no_content: bool) -> dict[str, Any]:
        number = post.extra["publish_id"]
        items = [
            self._drafts.validator.format_article(
                article, build_article_url(post.account, number, index), no_content=no_content
            )
            | {"is_deleted": post.state == "removed"}
            for index, article in enumerate(post.extra["articles"], 1)
        ]
        return {"news_item": items, "create_time": int(post.created), "update_time": int(post.created)}


def format_job(post: SimulatedPost) -> dict[str, Any]:
    """Return the status of a submission, for the status call and the event at the job's end."""
    publish_id, indexes = post.extra["publish_id"], range(1, len(post.extra["articles"]) + 1)
    if post.state == "removed":
        status = DELETED_BY_OWNER if post.removed_by == "owner" else BANNED_BY_SYSTEM
    elif post.state == "refused":
        status = int(post.review.get("status") or REVIEW_REJECTED)
    else:
        status = SUCCESS if post.state == "live" else IN_PROGRESS
    response: dict[str, Any] = {"publish_id": str(publish_id), "publish_status": status}
    if status in (SUCCESS, DELETED_BY_OWNER, BANNED_BY_SYSTEM):
        items = [{"idx": n, "article_url": build_article_url(post.account, publish_id, n)} for n in indexes]
        response |= {"article_id": post.id, "article_detail": {"count": len(items), "item": items}}
    is_refused = status not in (SUCCESS, IN_PROGRESS, DELETED_BY_OWNER, BANNED_BY_SYSTEM)
    return response | {"fail_idx": list(indexes) if is_refused else []}
