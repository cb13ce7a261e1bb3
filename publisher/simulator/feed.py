"""Pages on which a post looks as a citizen would see it."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .reach import reach_of
from .tieba.floors import floors_of
from .tieba.forums import floor_id
from .tieba.marks import PICTURE_MARK
from .wechat.html import clean
from .wechat.ids import PICTURE
from .words import words_of
from .world import Account, Post, World

BEIJING = timezone(timedelta(hours=8))
COLOURS = ("#e4572e", "#2f6fed", "#0f9d78", "#8e5bd0", "#d9822b", "#1b8fb3", "#c2417c", "#5a6acf")
PAGE = 30
REFRESH = 5
"""Seconds after which a list looks again, so that a demo needs no hand."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
MEDIA_TYPES = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
    b"RIFF": "image/webp",
}


@dataclass(frozen=True)
class Cleaned:
    """HTML that has been through the sanitiser; templates leave it as it is."""

    html: str

    def __html__(self) -> str:
        return self.html


class Viewer:
    """One reader's page: language, links, and how a moment is told."""

    def __init__(self, request: Request, now: float) -> None:
        self.language = "en" if request.query_params.get("lang") == "en" else "zh"
        self.words = words_of(self.language)
        self.now = datetime.fromtimestamp(now, BEIJING)
        self.tail = "?lang=en" if self.language == "en" else ""
        others = [(key, value) for key, value in request.query_params.multi_items() if key != "lang"]
        self.switch = urlencode([*others, ("lang", "zh" if self.language == "en" else "en")])

    def link(self, path: str, **query: object) -> str:
        if self.language == "en":
            query["lang"] = "en"
        return f"{path}?{urlencode(query)}" if query else path

    def when(self, unix: float) -> str:
        moment = datetime.fromtimestamp(unix, BEIJING)
        minutes = int((self.now - moment).total_seconds() // 60)
        if 0 <= minutes < 1:
            return self.words["now"]
        if 0 <= minutes < 60:
            return self.words["minutes"].format(minutes)
        if moment.date() == self.now.date():
            return f"{self.words['today']} {moment:%H:%M}"
        return f"{moment:%m-%d %H:%M}" if moment.year == self.now.year else f"{moment:%Y-%m-%d %H:%M}"


class Pages:
    def __init__(self, world: World) -> None:
        self.world = world
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "pages"), autoescape=True, trim_blocks=True
        )

    def _page(self, name: str, viewer: Viewer, **facts: object) -> Response:
        common = {"words": viewer.words, "lang": viewer.language, "tail": viewer.tail, "switch": viewer.switch}
        html = self._templates.get_template(name).render(**common, **facts)
        return Response(html, media_type="text/html", headers=HEADERS)

    async def index(self, request: Request) -> Response:
        self.world.tick()
        viewer = Viewer(request, self.world.now())
        sides = [
            {
                "name": name,
                "accounts": [self._row(each, viewer) for each in self.world.accounts.values() if each.platform == name],
            }
            for name in ("weibo", "wechat", "tieba")
        ]
        return self._page("index.html", viewer, sides=sides, refresh=REFRESH)

    def _row(self, account: Account, viewer: Viewer) -> dict[str, Any]:
        posts = self._posts(account)
        last = posts[-1] if posts else None
        return {
            **face(account),
            "href": viewer.link(path_of(account)),
            "live": sum(1 for post in posts if self.world.is_listed(post)),
            "removed": sum(1 for post in posts if post.state == "removed"),
            "last": (last.title or last.text) if last else "",
            "when": viewer.when(last.created) if last else "",
        }

    def _posts(self, account: Account) -> list[Post]:
        """What stands on an account's page: floors stand under their threads."""
        posts = self.world.of(account.platform, account.identity)
        return [post for post in posts if "thread" not in post.extra] if account.platform == "tieba" else posts

    async def feed(self, request: Request) -> Response:
        self.world.tick()
        account = self.world.accounts.get((request.path_params["platform"], request.path_params["account"]))
        if account is None:
            return Response("404 Not Found", 404, media_type="text/plain")
        viewer = Viewer(request, self.world.now())
        wanted = self.world.posts.get(request.query_params.get("post", ""))
        if wanted and (wanted.platform, wanted.account) == (account.platform, account.identity):
            return self._one(wanted, account, viewer)
        return self._list(request, account, viewer)

    def _list(self, request: Request, account: Account, viewer: Viewer) -> Response:
        posts = self._posts(account)[::-1]
        try:
            page = max(1, int(request.query_params.get("page", "1")))
        except ValueError:
            page = 1
        shown = posts[(page - 1) * PAGE : page * PAGE]
        forums = list(dict.fromkeys([*account.forums, *(str(post.extra.get("forum") or "") for post in posts)]))
        path = path_of(account)
        return self._page(
            f"{account.platform}.html",
            viewer,
            account=face(account),
            posts=[self._shown(post, account, viewer) for post in shown],
            total=len([post for post in posts if self.world.is_listed(post)]),
            forums="、".join(name + viewer.words["bar"] for name in forums if name),
            newer=viewer.link(path, page=page - 1) if page > 1 else "",
            older=viewer.link(path, page=page + 1) if len(posts) > page * PAGE else "",
            refresh=REFRESH if page == 1 else 0,
        )

    def _one(self, post: Post, account: Account, viewer: Viewer) -> Response:
        facts = {
            "account": face(account),
            "post": self._shown(post, account, viewer),
            "back": viewer.link(path_of(account)),
        }
        if "articles" in post.extra:
            articles = [_article(each, viewer) for each in post.extra["articles"]]
            cover = self._cover(post)
            return self._page("article.html", viewer, articles=articles, cover=cover, **facts)
        if post.platform == "tieba":
            return self._page("thread.html", viewer, floors=self._floors(post, account, viewer), **facts)
        return self._page(
            "weibo.html", viewer, posts=[facts["post"]], total=len(self.world.of("weibo", post.account)), **facts
        )

    def _floors(self, thread: Post, account: Account, viewer: Viewer) -> list[dict[str, Any]]:
        """The thread's floors in their order, each with its answers, those taken down included."""
        said = [(each, self._shown(each, account, viewer)) for each in floors_of(self.world, thread.id)]
        floors = [(floor_id(thread.id), self._shown(thread, account, viewer))]
        floors += [(each.id, shown) for each, shown in said if "under" not in each.extra]
        under = [(each.extra["under"], shown) for each, shown in said if "under" in each.extra]
        return [{**shown, "answers": [each for floor, each in under if floor == pid]} for pid, shown in floors]

    def _cover(self, post: Post) -> str:
        """The cover, unless the text shows the same picture anyway."""
        cover = post.images[0] if post.images else ""
        is_shown = any(cover in _pictures(article) for article in post.extra["articles"])
        return "" if is_shown or cover in post.html else cover

    def _shown(self, post: Post, account: Account, viewer: Viewer) -> dict[str, Any]:
        moment = datetime.fromtimestamp(post.created, BEIJING)
        return {
            "id": post.id,
            "href": viewer.link(path_of(account), post=post.id),
            "title": post.title,
            "text": PICTURE_MARK.sub("", post.text).strip(),
            "pieces": self._pieces(post),
            "images": post.images,
            "state": post.state,
            "note": self._note(post, viewer),
            "author": face(self.world.account(post.platform, post.account)),
            "is_opener": post.account == account.identity,
            "floor": viewer.words["floor"].format(post.extra.get("floor", 1)),
            "replies": sum(1 for each in floors_of(self.world, post.id) if self.world.is_listed(each)),
            "forum": post.extra.get("forum", ""),
            "source": post.extra.get("source") or viewer.words["by_hand" if post.extra.get("by_hand") else "app"],
            "reach": reach_of(post, self.world.now()) if post.state == "live" else None,
            "when": viewer.when(post.created),
            "day": f"{moment:%Y-%m-%d}",
            "full": f"{moment:%Y-%m-%d %H:%M}",
            "iso": moment.isoformat(timespec="seconds"),
        }

    def _note(self, post: Post, viewer: Viewer) -> str:
        if post.state == "live":
            return viewer.words["hidden"] if post.extra.get("hidden") else ""
        return viewer.words[post.state]

    def _pieces(self, post: Post) -> list[dict[str, str]]:
        if post.platform == "weibo":
            return _with_links(post)
        pieces, end = [], 0
        for mark in PICTURE_MARK.finditer(post.text):
            picture = self.world.get("tieba_pictures", mark.group(1)) or {"sha256": ""}
            pieces += [{"text": post.text[end : mark.start()]}, {"image": str(picture["sha256"])}]
            end = mark.end()
        pieces.append({"text": post.text[end:]})
        return [{name: each.strip("\r\n") for name, each in piece.items()} for piece in pieces]

    async def media(self, request: Request) -> Response:
        data = self.world.media(request.path_params["digest"])
        if data is None:
            return Response("404 Not Found", 404, media_type="text/plain")
        kind = next((kind for start, kind in MEDIA_TYPES.items() if data.startswith(start)), "application/octet-stream")
        kept = HEADERS | {"Cache-Control": "max-age=31536000, immutable"}
        return Response(data, media_type=kind, headers=kept)


def face(account: Account) -> dict[str, str]:
    colour = COLOURS[zlib.crc32(account.identity.encode()) % len(COLOURS)]
    return {"name": account.shown, "identity": account.identity, "initial": account.shown[:1], "colour": colour}


def path_of(account: Account) -> str:
    return f"/_sim/feed/{account.platform}/{quote(account.identity)}"


def _with_links(post: Post) -> list[dict[str, str]]:
    """The text in pieces, its short links as links to where they lead."""
    pieces: list[dict[str, str]] = [{"text": post.text}]
    for link in post.extra.get("url_objects", []):
        pieces = [part for piece in pieces for part in _cut(piece, link)]
    return pieces


def _cut(piece: dict[str, str], link: Mapping[str, str]) -> list[dict[str, str]]:
    if "href" in piece:
        return [piece]
    before, *rest = piece["text"].split(link["url_short"])
    parts = [{"text": before}]
    for text in rest:
        parts += [{"href": link["url_ori"]}, {"text": text}]
    return parts


def _article(article: Mapping[str, Any], viewer: Viewer) -> dict[str, Any]:
    source = str(article.get("content_source_url") or "")
    return {
        "title": article.get("title"),
        "pictures": _pictures(article),
        "removed": article.get("is_deleted", False),
        "author": article.get("author"),
        "body": _body(article, viewer),
        "source_url": source if source.startswith(("http://", "https://")) else "",
    }


def _body(article: Mapping[str, Any], viewer: Viewer) -> "Cleaned | str":
    content = str(article.get("content") or "")
    if article.get("article_type") == "newspic":
        return content
    html = clean(content)
    return viewer.words["refused_link"] if html is None else _own_html(html)


def _pictures(article: Mapping[str, Any]) -> list[str]:
    """The pictures that stand by themselves: those of a text in HTML are in it, or its cover."""
    is_text = article.get("article_type") == "news"
    return [] if is_text else list(article.get("pictures") or [])


def _own_html(html: str) -> "Cleaned":
    """Cleaned HTML with its pictures taken from here instead of from the platform's picture host."""
    return Cleaned(PICTURE.sub(r"/_sim/media/\1", html))


def feed_routes(world: World) -> list[Route]:
    pages = Pages(world)
    return [
        Route("/_sim/", pages.index),
        Route("/_sim/feed/{platform}/{account:path}", pages.feed),
        Route("/_sim/media/{digest}", pages.media),
    ]
