"""The endpoints by which tests and demos steer the world."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .log import to_json
from .side import Side
from .world import Account, Post, Settings, World

Handler = Callable[[Request], Awaitable[Response]]

_SETTINGS = TypeAdapter(Settings)


def _reply(value: object, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")


def _wrong(message: str, status: int = 400) -> Response:
    return _reply({"error": message}, status)


async def _read(request: Request) -> dict[str, Any]:
    """The JSON object sent; ValueError when it is none."""
    body = await request.body()
    value = json.loads(body) if body else {}
    if not isinstance(value, dict):
        raise TypeError("a JSON object is expected")
    return value


def shown(post: Post, world: World, side: Side) -> dict[str, Any]:
    """Give a post as the control endpoints show it. `text` is what was received; `shown` is what readers see of it."""
    is_rewritten = post.extra.get("rewritten", False)
    thread = world.posts.get(post.extra.get("thread", post.id), post)
    return {
        "id": post.id,
        "account": post.account,
        "platform": post.platform,
        "created": post.created,
        "text": post.text if is_rewritten else post.extra.get("sent", post.text),
        "shown": post.text,
        "title": post.title,
        "html": post.html,
        "images": post.images,
        "removed": post.state == "removed",
        "visible": world.is_listed(post) and world.is_listed(thread),
        "url": side.address(post),
        "state": post.state,
        "removed_by": post.removed_by,
        "extra": post.extra,
    }


class Control:
    def __init__(self, world: World, sides: Mapping[str, Side]) -> None:
        self.world = world
        self.sides = sides

    async def add_account(self, request: Request) -> Response:
        wanted = await _read(request)
        platform, identity = str(wanted.get("platform") or ""), str(wanted.get("account") or "")
        if platform not in self.sides or not identity:
            return _wrong("platform (weibo, wechat or tieba) and account are needed")
        given = {name: str(value) for name, value in (wanted.get("secret") or {}).items()}
        secret = self.sides[platform].secret(identity) | given
        account = self.world.account(platform, identity)
        account.name = str(wanted.get("name") or account.name)
        account.forums = [str(each) for each in wanted.get("forums") or account.forums]
        account.secret = secret
        self.world.save_account(account)
        return await self._done(secret)

    async def accounts(self, _request: Request) -> Response:
        return _reply([_public(each) for each in self.world.accounts.values()])

    async def posts(self, request: Request) -> Response:
        self.world.tick()
        account, platform = request.query_params.get("account"), request.query_params.get("platform")
        with_floors = request.query_params.get("floors") == "1"
        return _reply(
            [
                self._shown(post)
                for post in self.world.posts.values()
                if account in (None, post.account) and platform in (None, post.platform)
                if with_floors or "thread" not in post.extra
            ]
        )

    async def add_post(self, request: Request) -> Response:
        wanted = await _read(request)
        if wanted.get("platform") not in self.sides or not wanted.get("account"):
            return _wrong("platform and account are needed")
        self.world.account(wanted["platform"], str(wanted["account"]))
        post = self.world.create(None, self.sides[wanted["platform"]].by_hand(wanted))
        return await self._done(self._shown(post))

    async def remove_post(self, request: Request) -> Response:
        post = self.world.posts.get(request.path_params["id"])
        if post is None:
            return _wrong("no such post", 404)
        if post.state != "removed":
            self.world.remove(post, "platform")
        return await self._done(self._shown(post))

    async def log(self, request: Request) -> Response:
        self.world.tick()
        await self.world.disk.synced()
        since = int(request.query_params.get("since") or 0)
        return Response(self.world.log.since(since), media_type="application/json")

    async def add_fault(self, request: Request) -> Response:
        return _reply({"id": self.world.rules.add(await _read(request))})

    async def faults(self, _request: Request) -> Response:
        return _reply([rule.as_json() for rule in self.world.rules.rules])

    async def clear_faults(self, _request: Request) -> Response:
        return _reply({"cleared": self.world.rules.clear()})

    async def clock(self, request: Request) -> Response:
        self.world.move(float((await _read(request)).get("shift") or 0))
        return await self._done({"now": self.world.now(), "shift": self.world.shift})

    async def review(self, request: Request) -> Response:
        wanted = await _read(request)
        verdict, which = wanted.get("verdict"), str(wanted.get("post_id") or "")
        if verdict not in ("pass", "refuse", "hold"):
            return _wrong("verdict must be pass, refuse or hold")
        chosen = [
            post for post in self.world.posts.values() if _is_meant(post, str(wanted.get("account") or ""), which)
        ]
        if which and not chosen:
            return _wrong("no such post", 404)
        for post in chosen:
            self.world.judge(post, verdict)
        return await self._done({"judged": [post.id for post in chosen]})

    async def settings(self, request: Request) -> Response:
        settings = self.world.settings
        wanted = await _read(request) if request.method == "POST" else {}
        if unknown := [name for name in wanted if not hasattr(settings, name)]:
            return _wrong(f"no setting {unknown[0]}")
        try:
            turned = _SETTINGS.validate_python({**asdict(settings), **wanted})
        except ValidationError as error:
            first = error.errors()[0]
            return _wrong(f"{first['loc'][0]}: {first['msg']}")
        for name in wanted:
            setattr(settings, name, getattr(turned, name))
        return _reply(asdict(settings))

    async def callbacks(self, request: Request) -> Response:
        wanted = await _read(request)
        side = self.sides.get(str(wanted.get("platform") or "wechat"))
        if side is None or side.listen is None:
            return _wrong("this platform tells nobody of events")
        return await self._done(await side.listen(wanted))

    async def reset(self, _request: Request) -> Response:
        self.world.reset()
        return await self._done({"ok": True})

    def _shown(self, post: Post) -> dict[str, Any]:
        return shown(post, self.world, self.sides[post.platform])

    async def _done(self, value: object) -> Response:
        await self.world.disk.synced()
        return _reply(value)


def _public(account: Account) -> dict[str, Any]:
    return {
        "platform": account.platform,
        "account": account.identity,
        "name": account.shown,
        "forums": account.forums,
    }


def _is_meant(post: Post, account: str, which: str) -> bool:
    if account and post.account != account:
        return False
    if which:
        return which in (post.id, str(post.extra.get("publish_id", "")))
    return post.state == "review"


def _told(handler: Handler) -> Handler:
    """Turn what a caller wrote wrongly into a 400 that says so."""

    async def told(request: Request) -> Response:
        try:
            return await handler(request)
        except (TypeError, ValueError) as error:
            return _wrong(str(error))

    return told


def control_routes(world: World, sides: Mapping[str, Side]) -> list[Route]:
    control = Control(world, sides)
    table: list[tuple[str, str, Handler]] = [
        ("POST", "/_sim/accounts", control.add_account),
        ("GET", "/_sim/accounts", control.accounts),
        ("GET", "/_sim/posts", control.posts),
        ("POST", "/_sim/posts", control.add_post),
        ("DELETE", "/_sim/posts/{id}", control.remove_post),
        ("GET", "/_sim/log", control.log),
        ("POST", "/_sim/faults", control.add_fault),
        ("GET", "/_sim/faults", control.faults),
        ("DELETE", "/_sim/faults", control.clear_faults),
        ("POST", "/_sim/clock", control.clock),
        ("POST", "/_sim/review", control.review),
        ("GET", "/_sim/settings", control.settings),
        ("POST", "/_sim/settings", control.settings),
        ("POST", "/_sim/callbacks", control.callbacks),
        ("POST", "/_sim/reset", control.reset),
    ]
    return [Route(path, _told(handler), methods=[method]) for method, path, handler in table]
