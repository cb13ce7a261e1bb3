"""Pages that show posts as readers see them."""

import re
import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .page_texts import SECURITY_HEADERS, get_page_texts, render_page
from .state import SimulatedAccount, SimulatedPost, SimulatorState, compute_metrics
from .tieba.threads import PICTURE_MARKUP, get_first_post_id, get_replies
from .wechat.html import sanitise
from .wechat.responses import PICTURE_URL

BEIJING = timezone(timedelta(hours=8))
AVATAR_COLOURS = (
    "#e4572e",
    "#2f6fed",
    "#0f9d78",
    "#8e5bd0",
    "#d9822b",
    "#1b8fb3",
    "#c2417c",
    "#5a6acf",
)
POSTS_PER_PAGE = 30
REFRESH_SECONDS = 5
"""Lists reload themselves at this interval, so that a demo needs no operator."""
HEADERS = SECURITY_HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )
}
MEDIA_TYPES = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
    b"RIFF": "image/webp",
}


class PageContext:
    """One page's language, links and time format."""

    def __init__(self, request: Request, now: float) -> None:
        self.language = "en" if request.query_params.get("lang") == "en" else "zh"
        self.texts = get_page_texts(self.language)
        self.now = datetime.fromtimestamp(now, BEIJING)
        others = [
            (key, value)
            for key, value in request.query_params.multi_items()
            if key != "lang"
        ]
        self.language_query = urlencode(
            [*others, ("lang", "zh" if self.language == "en" else "en")]
        )

    def build_link(self, path: str, **query: object) -> str:
        if self.language == "en":
            query["lang"] = "en"
        return f"{path}?{urlencode(query)}" if query else path

    def format_time(self, unix: float) -> str:
        moment = datetime.fromtimestamp(unix, BEIJING)
        minutes = int((self.now - moment).total_seconds() // 60)
        if 0 <= minutes < 1:
            return self.texts["now"]
        if 0 <= minutes < 60:
            return self.texts["minutes"].format(minutes)
        if moment.date() == self.now.date():
            return f"{self.texts['today']} {moment:%H:%M}"
        return (
            f"{moment:%m-%d %H:%M}"
            if moment.year == self.now.year
            else f"{moment:%Y-%m-%d %H:%M}"
        )


class FeedPages:
    def __init__(self, state: SimulatorState) -> None:
        self.state = state

    def _render(self, name: str, context: PageContext, **facts: object) -> Response:
        html = render_page(name, context.language, context.language_query, **facts)
        return Response(html, media_type="text/html", headers=HEADERS)

    async def index(self, request: Request) -> Response:
        self.state.run_due()
        context = PageContext(request, self.state.now())
        accounts: dict[str, list[dict[str, Any]]] = {
            "weibo": [],
            "wechat": [],
            "tieba": [],
        }
        for account in self.state.accounts.values():
            posts = self._get_account_posts(account)
            listed = [post for post in posts if self.state.is_listed(post)]
            last = listed[-1] if listed else None
            accounts[account.platform].append(
                {
                    **describe_avatar(account),
                    "href": context.build_link(build_feed_path(account)),
                    "live": len(listed),
                    "removed": sum(1 for post in posts if post.state == "removed"),
                    "last": (last.title or last.text) if last else "",
                    "when": context.format_time(last.created) if last else "",
                }
            )
        return self._render(
            "index.html", context, platforms=accounts, refresh=REFRESH_SECONDS
        )

    def _get_account_posts(self, account: SimulatedAccount) -> list[SimulatedPost]:
        """Return the posts on an account's page; replies are shown in their threads."""
        posts = self.state.get_posts(account.platform, account.identity)
        return (
            [post for post in posts if "thread" not in post.extra]
            if account.platform == "tieba"
            else posts
        )

    async def feed(self, request: Request) -> Response:
        self.state.run_due()
        account = self.state.accounts.get(
            (request.path_params["platform"], request.path_params["account"])
        )
        if account is None:
            return Response("404 Not Found", 404, media_type="text/plain")
        context = PageContext(request, self.state.now())
        wanted = self.state.posts.get(request.query_params.get("post", ""))
        if wanted and (wanted.platform, wanted.account) == (
            account.platform,
            account.identity,
        ):
            return self._render_post(wanted, account, context)
        return self._render_list(request, account, context)

    def _render_list(
        self, request: Request, account: SimulatedAccount, context: PageContext
    ) -> Response:
        posts = self._get_account_posts(account)[::-1]
        try:
            page = max(1, int(request.query_params.get("page", "1")))
        except ValueError:
            page = 1
        shown = posts[(page - 1) * POSTS_PER_PAGE : page * POSTS_PER_PAGE]
        forums = list(
            dict.fromkeys(
                [
                    *account.forums,
                    *(str(post.extra.get("forum") or "") for post in posts),
                ]
            )
        )
        path = build_feed_path(account)
        return self._render(
            f"{account.platform}.html",
            context,
            account=describe_avatar(account),
            posts=[self._describe_post(post, account, context) for post in shown],
            total=len([post for post in posts if self.state.is_listed(post)]),
            forums="、".join(name + context.texts["bar"] for name in forums if name),
            newer=context.build_link(path, page=page - 1) if page > 1 else "",
            older=context.build_link(path, page=page + 1)
            if len(posts) > page * POSTS_PER_PAGE
            else "",
            refresh=REFRESH_SECONDS if page == 1 else 0,
        )

    def _render_post(
        self, post: SimulatedPost, account: SimulatedAccount, context: PageContext
    ) -> Response:
        facts = {
            "account": describe_avatar(account),
            "post": self._describe_post(post, account, context),
            "back": context.build_link(build_feed_path(account)),
        }
        if "articles" in post.extra:
            articles = [
                _describe_article(each, context) for each in post.extra["articles"]
            ]
            cover = post.images[0] if post.images else ""
            is_shown = cover in post.html or any(
                cover in article["pictures"] for article in articles
            )
            return self._render(
                "article.html",
                context,
                articles=articles,
                cover="" if is_shown else cover,
                **facts,
            )
        if post.platform == "tieba":
            return self._render(
                "thread.html",
                context,
                replies=self._describe_replies(post, account, context),
                **facts,
            )
        return self._render(
            "weibo.html",
            context,
            posts=[facts["post"]],
            total=len(self.state.get_posts("weibo", post.account)),
            **facts,
        )

    def _describe_replies(
        self, thread: SimulatedPost, account: SimulatedAccount, context: PageContext
    ) -> list[dict[str, Any]]:
        """Return the thread's first post and replies in order, each with its comments.

        Deleted ones are included.
        """
        described = [
            (each, self._describe_post(each, account, context))
            for each in get_replies(self.state, thread.id)
        ]
        replies = [
            (
                get_first_post_id(thread.id),
                self._describe_post(thread, account, context),
            )
        ]
        replies += [
            (each.id, shown) for each, shown in described if "under" not in each.extra
        ]
        return [
            {
                **reply,
                "comments": [
                    shown for each, shown in described if each.extra.get("under") == pid
                ],
            }
            for pid, reply in replies
        ]

    def _describe_post(
        self, post: SimulatedPost, account: SimulatedAccount, context: PageContext
    ) -> dict[str, Any]:
        moment = datetime.fromtimestamp(post.created, BEIJING)
        note = context.texts["hidden"] if post.extra.get("hidden") else ""
        return {
            "id": post.id,
            "href": context.build_link(build_feed_path(account), post=post.id),
            "title": post.title,
            "text": PICTURE_MARKUP.sub("", post.text).strip(),
            "pieces": self._split_text(post),
            "images": post.images,
            "state": post.state,
            "note": note if post.state == "live" else context.texts[post.state],
            "author": describe_avatar(
                self.state.ensure_account(post.platform, post.account)
            ),
            "is_opener": post.account == account.identity,
            "number": context.texts["reply_number"].format(post.extra.get("floor", 1)),
            "replies": sum(
                1
                for each in get_replies(self.state, post.id)
                if self.state.is_listed(each)
            ),
            "forum": post.extra.get("forum", ""),
            "source": context.texts["by_hand" if post.extra.get("by_hand") else "app"],
            "reach": compute_metrics(post, self.state.now())
            if post.state == "live"
            else None,
            "when": context.format_time(post.created),
            "day": f"{moment:%Y-%m-%d}",
            "full": f"{moment:%Y-%m-%d %H:%M}",
            "iso": moment.isoformat(timespec="seconds"),
        }

    def _split_text(self, post: SimulatedPost) -> list[dict[str, str]]:
        """Return the text in pieces: text, Weibo's short links with targets, Tieba's pictures."""
        if post.platform == "weibo":
            links = {
                link["url_short"]: link["url_ori"]
                for link in post.extra.get("url_objects", [])
            }
            parts = (
                re.split("(" + "|".join(map(re.escape, links)) + ")", post.text)
                if links
                else [post.text]
            )
            return [
                {"href": links[part]} if part in links else {"text": part}
                for part in parts
            ]
        pieces, end = [], 0
        for mark in PICTURE_MARKUP.finditer(post.text):
            picture = self.state.get_row("tieba_pictures", mark.group(1)) or {
                "sha256": ""
            }
            pieces += [
                {"text": post.text[end : mark.start()]},
                {"image": str(picture["sha256"])},
            ]
            end = mark.end()
        pieces.append({"text": post.text[end:]})
        return [
            {name: each.strip("\r\n") for name, each in piece.items()}
            for piece in pieces
        ]

    async def media(self, request: Request) -> Response:
        data = self.state.read_media(request.path_params["digest"])
        if data is None:
            return Response("404 Not Found", 404, media_type="text/plain")
        kind = next(
            (kind for start, kind in MEDIA_TYPES.items() if data.startswith(start)),
            "application/octet-stream",
        )
        headers = HEADERS | {"Cache-Control": "max-age=31536000, immutable"}
        return Response(data, media_type=kind, headers=headers)


def describe_avatar(account: SimulatedAccount) -> dict[str, str]:
    colour = AVATAR_COLOURS[zlib.crc32(account.identity.encode()) % len(AVATAR_COLOURS)]
    return {
        "name": account.display_name,
        "identity": account.identity,
        "initial": account.display_name[:1],
        "colour": colour,
    }


def build_feed_path(account: SimulatedAccount) -> str:
    return f"/_sim/feed/{account.platform}/{quote(account.identity)}"


def _describe_article(
    article: Mapping[str, Any], context: PageContext
) -> dict[str, Any]:
    source = str(article.get("content_source_url") or "")
    body = str(article.get("content") or "")
    if article.get("article_type") != "newspic":
        html = sanitise(body)
        body = context.texts["refused_link"]
        if (
            html is not None
        ):  # pictures come from here instead of from the platform's picture host
            body = Markup(PICTURE_URL.sub(r"/_sim/media/\1", html))  # noqa: S704 # it is sanitised
    # the pictures of an HTML text are in the text, or its cover
    pictures = (
        []
        if article.get("article_type") == "news"
        else list(article.get("pictures") or [])
    )
    return {
        "title": article.get("title"),
        "pictures": pictures,
        "author": article.get("author"),
        "body": body,
        "source_url": source if source.startswith(("http://", "https://")) else "",
    }


def make_feed_routes(state: SimulatorState) -> list[Route]:
    pages = FeedPages(state)
    return [
        Route("/_sim/", pages.index),
        Route("/_sim/feed/{platform}/{account:path}", pages.feed),
        Route("/_sim/media/{digest}", pages.media),
    ]
