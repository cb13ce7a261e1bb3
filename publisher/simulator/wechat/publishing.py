"""Publishing without a push (developers.weixin.qq.com, public/api_freepublish_*).

An accepted submit makes one article at once; it is public when its review has passed. So the creation is the
submit's acceptance, and one submitted draft is one post however many articles it holds.
"""

import secrets
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import OK, refuse
from .articles import Article
from .drafts import Drafts, page_of
from .ids import article_url, media_id

FIRST_JOB = 2_247_483_649
SUCCESS, IN_PROGRESS, REVIEW_REFUSED, DELETED_BY_OWNER, BANNED_BY_SYSTEM = 0, 1, 4, 5, 6


class Publishing:
    def __init__(self, world: World, drafts: Drafts) -> None:
        self.world = world
        self._drafts = drafts

    def submit(self, call: Call) -> Answer:
        name = (call.json() or {}).get("media_id")
        draft = self._drafts.of(call, name)
        if draft is None:
            return refuse(call, 40007 if name else 41006)
        if draft.get("submitted") and self.world.settings.wechat_repeats == "refuse":
            return refuse(call, 53503)
        post = self.made(call, str(name), draft["articles"], media_id(secrets.token_hex(8)))
        self.world.create(call, post)
        self._drafts.take(str(name))
        number = post.extra["publish_id"]
        self.world.put("wechat_jobs", str(number), {"post_id": post.id})
        return Answer.of({**OK, "publish_id": number, "msg_data_id": number})

    def made(self, call: Call, draft: str, articles: list[Article], name: str) -> Post:
        """A post of a draft's articles; its number is the `mid` of their addresses."""
        now, first = self.world.now(), articles[0]
        pictured = [{**article, "pictures": self._drafts.desk.digests(article)} for article in articles]
        return Post(
            name,
            "wechat",
            call.account,
            now,
            text=str(first["digest"]),
            title=str(first["title"]),
            html=str(first["content"]),
            images=list(dict.fromkeys(digest for article in pictured for digest in article["pictures"])),
            state="review",
            review={"due": now + self.world.settings.wechat_review_seconds, "verdict": "pass"},
            extra={"articles": pictured, "publish_id": self.next_job(), "draft": draft},
        )

    def next_job(self) -> int:
        counter = self.world.get("wechat_counter", "jobs") or {"next": FIRST_JOB}
        self.world.put("wechat_counter", "jobs", {"next": counter["next"] + 1})
        return int(counter["next"])

    def get(self, call: Call) -> Answer:
        wanted = str((call.json() or {}).get("publish_id") or "")
        job = self.world.get("wechat_jobs", wanted)
        post = self.world.posts.get(job["post_id"]) if job else None
        if post is None or post.account != call.account:
            return refuse(call, 53502)
        return Answer.of(job_of(self.world.seen(call, post)))

    def _mine(self, call: Call) -> list[Post]:
        """What was published without a push; mass sends are in no list."""
        return [post for post in self.world.of("wechat", call.account) if "mass" not in post.extra]

    def batch_get(self, call: Call) -> Answer:
        """Articles published without a push, newest first; deleted ones say so."""
        wanted = call.json() or {}
        posts = [post for post in reversed(self._mine(call)) if post.state in ("live", "removed")]
        posts = self.world.listing(call, posts)
        start, count = page_of(wanted)
        items = [
            {
                "article_id": post.id,
                "content": self._content(self.world.seen(call, post), no_content=bool(wanted.get("no_content"))),
                "update_time": int(post.created),
            }
            for post in posts[start : start + count]
        ]
        return Answer.of({"total_count": len(posts), "item_count": len(items), "item": items})

    def _found(self, call: Call) -> Post | None:
        post = self.world.posts.get(str((call.json() or {}).get("article_id") or ""))
        owned = post is not None and (post.platform, post.account) == ("wechat", call.account)
        return post if post and owned and post.state in ("live", "removed") and "mass" not in post.extra else None

    def get_article(self, call: Call) -> Answer:
        post = self._found(call)
        return Answer.of(self._content(self.world.seen(call, post), no_content=False)) if post else refuse(call, 53600)

    def delete(self, call: Call) -> Answer:
        """Delete one article, counted from 1, or all of them; it cannot be undone, and repeating it is harmless."""
        post, index = self._found(call), (call.json() or {}).get("index") or 0
        if post is None:
            return refuse(call, 53600)
        if not isinstance(index, int) or not 0 <= index <= len(post.extra["articles"]):
            return refuse(call, 40060)
        delete_articles(self.world, call, post, index)
        return Answer.of(OK)

    def _content(self, post: Post, *, no_content: bool) -> dict[str, Any]:
        number = post.extra["publish_id"]
        items = [
            self._drafts.desk.shown(article, article_url(post.account, number, index), no_content=no_content)
            | {"is_deleted": post.state == "removed" or article.get("is_deleted", False)}
            for index, article in enumerate(post.extra["articles"], 1)
        ]
        return {"news_item": items, "create_time": int(post.created), "update_time": int(post.created)}


def delete_articles(world: World, call: Call, post: Post, index: int) -> None:
    """Mark an article as deleted, 0 for all; with its last article the post is removed."""
    articles = [
        {**article, "is_deleted": True} if index in (0, number) else article
        for number, article in enumerate(post.extra["articles"], 1)
    ]
    if post.state == "live" and all(article.get("is_deleted") for article in articles):
        world.remove(post, "owner", call)
    elif post.state == "live":
        post.extra = {**post.extra, "articles": articles}
        world.save(post)
        world.note("act", None, call)


def job_of(post: Post) -> dict[str, Any]:
    """How far a submission has come, as the status call tells it, and the event at its end."""
    number, status = post.extra["publish_id"], _status_of(post)
    count = len(post.extra["articles"])
    answer: dict[str, Any] = {"publish_id": str(number), "publish_status": status}
    if status in (SUCCESS, DELETED_BY_OWNER, BANNED_BY_SYSTEM):
        items = [{"idx": n, "article_url": article_url(post.account, number, n)} for n in range(1, count + 1)]
        answer |= {"article_id": post.id, "article_detail": {"count": count, "item": items}}
    refused = status not in (SUCCESS, IN_PROGRESS, DELETED_BY_OWNER, BANNED_BY_SYSTEM)
    return answer | {"fail_idx": list(range(1, count + 1)) if refused else []}


def _status_of(post: Post) -> int:
    if post.state == "removed":
        return DELETED_BY_OWNER if post.removed_by == "owner" else BANNED_BY_SYSTEM
    if post.state == "refused":
        return int(post.review.get("status") or REVIEW_REFUSED)
    return SUCCESS if post.state == "live" else IN_PROGRESS
