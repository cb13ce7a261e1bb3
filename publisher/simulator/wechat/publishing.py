"""Publishing without a push (developers.weixin.qq.com, public/api_freepublish_*).

An accepted submit makes one article at once; it is public when its review has passed. So the creation is the
submit's acceptance, and one submitted draft is one post however many articles it holds.
"""

import secrets
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import OK, refuse
from .drafts import Drafts, page_of, shown
from .ids import article_url, media_id, pictures_in
from .tokens import Tokens

FIRST_JOB = 2_247_483_649
SUCCESS, IN_PROGRESS, REVIEW_REFUSED, DELETED_BY_OWNER, BANNED_BY_SYSTEM = 0, 1, 4, 5, 6


class Publishing:
    def __init__(self, world: World, tokens: Tokens, drafts: Drafts) -> None:
        self.world = world
        self._tokens = tokens
        self._drafts = drafts
        world.ended_reviews.append(self._consume)

    def submit(self, call: Call) -> Answer:
        refusal = self._tokens.refusal(call)
        if refusal:
            return refusal
        name = (call.json() or {}).get("media_id")
        draft = self._drafts.of(call, name)
        if draft is None:
            return refuse(call, 40007 if name else 41006)
        if draft.get("submitted"):
            return refuse(call, 53503)
        post = self._post(call, str(name), draft["articles"])
        self.world.create(call, post)
        stays = self.world.settings.wechat_consume == "finish"
        self.world.put("wechat_drafts", str(name), {**draft, "submitted": True} if stays else None)
        number = post.extra["publish_id"]
        self.world.put("wechat_jobs", str(number), {"post_id": post.id})
        return Answer.of({**OK, "publish_id": number, "msg_data_id": number})

    def _post(self, call: Call, draft: str, articles: list[dict[str, Any]]) -> Post:
        now, first = self.world.now(), articles[0]
        material = self.world.get("wechat_materials", first["thumb_media_id"])
        images = [material["sha256"]] if material else []
        images += [digest for article in articles for digest in pictures_in(article["content"])]
        return Post(
            media_id(secrets.token_hex(8)),
            "wechat",
            call.account,
            now,
            text=str(first["digest"]),
            title=str(first["title"]),
            html=str(first["content"]),
            images=list(dict.fromkeys(images)),
            state="review",
            review={"due": now + self.world.settings.wechat_review_seconds, "verdict": "pass"},
            extra={"articles": articles, "publish_id": self.next_job(), "draft": draft},
        )

    def next_job(self) -> int:
        counter = self.world.get("wechat_counter", "jobs") or {"next": FIRST_JOB}
        self.world.put("wechat_counter", "jobs", {"next": counter["next"] + 1})
        return int(counter["next"])

    def _consume(self, post: Post) -> None:
        """Where a draft stays until its job has ended, it goes now."""
        name = post.extra.get("draft")
        if name and self.world.get("wechat_drafts", name):
            self.world.put("wechat_drafts", name, None)

    def get(self, call: Call) -> Answer:
        refusal = self._tokens.refusal(call)
        if refusal:
            return refusal
        wanted = str((call.json() or {}).get("publish_id") or "")
        job = self.world.get("wechat_jobs", wanted)
        post = self.world.posts.get(job["post_id"]) if job else None
        if post is None or post.account != call.account:
            return refuse(call, 53502)
        return Answer.of(self._job(post))

    def _mine(self, call: Call) -> list[Post]:
        return self.world.of("wechat", call.account)

    def _job(self, post: Post) -> dict[str, Any]:
        number, status = post.extra["publish_id"], _status_of(post)
        count = len(post.extra["articles"])
        answer: dict[str, Any] = {"publish_id": str(number), "publish_status": status}
        if status in (SUCCESS, DELETED_BY_OWNER, BANNED_BY_SYSTEM):
            items = [{"idx": n, "article_url": article_url(post.account, number, n)} for n in range(1, count + 1)]
            answer |= {"article_id": post.id, "article_detail": {"count": count, "item": items}}
        refused = status not in (SUCCESS, IN_PROGRESS, DELETED_BY_OWNER, BANNED_BY_SYSTEM)
        return answer | {"fail_idx": list(range(1, count + 1)) if refused else []}

    def batch_get(self, call: Call) -> Answer:
        """Articles published without a push, newest first; deleted ones say so."""
        refusal = self._tokens.refusal(call)
        if refusal:
            return refusal
        wanted = call.json() or {}
        posts = [post for post in reversed(self._mine(call)) if post.state in ("live", "removed")]
        posts = self.world.listing(call, posts)
        start, count = page_of(wanted)
        items = [
            {
                "article_id": post.id,
                "content": self._content(post, no_content=bool(wanted.get("no_content"))),
                "update_time": int(post.created),
            }
            for post in posts[start : start + count]
        ]
        return Answer.of({"total_count": len(posts), "item_count": len(items), "item": items})

    def _found(self, call: Call) -> Post | None:
        post = self.world.posts.get(str((call.json() or {}).get("article_id") or ""))
        owned = post is not None and (post.platform, post.account) == ("wechat", call.account)
        return post if post and owned and post.state in ("live", "removed") else None

    def get_article(self, call: Call) -> Answer:
        refusal = self._tokens.refusal(call)
        if refusal:
            return refusal
        post = self._found(call)
        return Answer.of(self._content(post, no_content=False)) if post else refuse(call, 53600)

    def delete(self, call: Call) -> Answer:
        refusal = self._tokens.refusal(call)
        if refusal:
            return refusal
        post = self._found(call)
        if post is None:
            return refuse(call, 53600)
        if post.state == "live":
            self.world.remove(post, "owner", call)
        return Answer.of(OK)

    def _content(self, post: Post, *, no_content: bool) -> dict[str, Any]:
        number = post.extra["publish_id"]
        items = [
            shown(article, self.world, article_url(post.account, number, index), no_content=no_content)
            | {"is_deleted": post.state == "removed"}
            for index, article in enumerate(post.extra["articles"], 1)
        ]
        return {"news_item": items, "create_time": int(post.created), "update_time": int(post.created)}


def _status_of(post: Post) -> int:
    if post.state == "removed":
        return DELETED_BY_OWNER if post.removed_by == "owner" else BANNED_BY_SYSTEM
    if post.state == "refused":
        return int(post.review.get("status") or REVIEW_REFUSED)
    return SUCCESS if post.state == "live" else IN_PROGRESS
