"""The endpoints by which tests and demos control the simulator."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .log import to_json
from .platform import Platform
from .state import Behaviour, SimulatedPost, SimulatorState

Handler = Callable[[Request], Awaitable[Response]]

_BEHAVIOUR_ADAPTER = TypeAdapter(Behaviour)


def _json_response(value: object, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")


def _error_response(message: str, status: int = 400) -> Response:
    return _json_response({"error": message}, status)


async def _read_json(request: Request) -> dict[str, Any]:
    """Return the JSON object sent; raises ValueError or TypeError if there is none."""
    body = await request.body()
    value = json.loads(body) if body else {}
    if not isinstance(value, dict):
        raise TypeError("a JSON object is expected")
    return value


class ControlApi:
    def __init__(self, state: SimulatorState, platforms: Mapping[str, Platform]) -> None:
        self.state = state
        self.platforms = platforms

    async def add_account(self, request: Request) -> Response:
        fields = await _read_json(request)
        platform, identity = str(fields.get("platform") or ""), str(fields.get("account") or "")
        if platform not in self.platforms or not identity:
            return _error_response("platform (weibo, wechat or tieba) and account are needed")
        given = {name: str(value) for name, value in (fields.get("secret") or {}).items()}
        secret = self.platforms[platform].make_secret(identity) | given
        account = self.state.ensure_account(platform, identity)
        account.name = str(fields.get("name") or account.name)
        account.forums = [str(each) for each in fields.get("forums") or account.forums]
        account.secret = secret
        self.state.save_account(account)
        return await self._respond_synced(secret)

    async def list_accounts(self, _request: Request) -> Response:
        return _json_response(
            [
                {"platform": each.platform, "account": each.identity, "name": each.display_name, "forums": each.forums}
                for each in self.state.accounts.values()
            ]
        )

    async def list_posts(self, request: Request) -> Response:
        self.state.run_due()
        account, platform = request.query_params.get("account"), request.query_params.get("platform")
        with_replies = request.query_params.get("floors") == "1"
        return _json_response(
            [
                self._describe_post(post)
                for post in self.state.posts.values()
                if account in (None, post.account) and platform in (None, post.platform)
                if with_replies or "thread" not in post.extra
            ]
        )

    async def add_post(self, request: Request) -> Response:
        fields = await _read_json(request)
        if fields.get("platform") not in self.platforms or not fields.get("account"):
            return _error_response("platform and account are needed")
        self.state.ensure_account(fields["platform"], str(fields["account"]))
        post = self.state.create_post(None, self.platforms[fields["platform"]].make_external_post(self.state, fields))
        return await self._respond_synced(self._describe_post(post))

    async def remove_post(self, request: Request) -> Response:
        post = self.state.posts.get(request.path_params["id"])
        if post is None:
            return _error_response("no such post", 404)
        if post.state != "removed":
            self.state.remove_post(post, "platform")
        return await self._respond_synced(self._describe_post(post))

    async def read_log(self, request: Request) -> Response:
        self.state.run_due()
        await self.state.files.wait_synced()
        since = int(request.query_params.get("since") or 0)
        return Response(self.state.event_log.read_since(since), media_type="application/json")

    async def add_fault(self, request: Request) -> Response:
        return _json_response({"id": self.state.fault_rules.add(await _read_json(request))})

    async def list_faults(self, _request: Request) -> Response:
        return _json_response([rule.to_json() for rule in self.state.fault_rules.rules])

    async def clear_faults(self, _request: Request) -> Response:
        return _json_response({"cleared": self.state.fault_rules.clear()})

    async def shift_clock(self, request: Request) -> Response:
        self.state.shift_clock(float((await _read_json(request)).get("shift") or 0))
        return await self._respond_synced({"now": self.state.now(), "shift": self.state.clock_shift})

    async def decide_reviews(self, request: Request) -> Response:
        fields = await _read_json(request)
        verdict, post_id = fields.get("verdict"), str(fields.get("post_id") or "")
        account = str(fields.get("account") or "")
        if verdict not in ("pass", "refuse", "hold"):
            return _error_response("verdict must be pass, refuse or hold")
        selected = [
            post
            for post in self.state.posts.values()
            if account in ("", post.account)
            and (post_id in (post.id, str(post.extra.get("publish_id", ""))) if post_id else post.state == "review")
        ]
        if post_id and not selected:
            return _error_response("no such post", 404)
        for post in selected:
            self.state.decide_review(post, verdict)
        return await self._respond_synced({"judged": [post.id for post in selected]})

    async def change_behaviour(self, request: Request) -> Response:
        behaviour = self.state.behaviour
        fields = await _read_json(request) if request.method == "POST" else {}
        if unknown := [name for name in fields if not hasattr(behaviour, name)]:
            return _error_response(f"no setting {unknown[0]}")
        try:
            changed = _BEHAVIOUR_ADAPTER.validate_python({**asdict(behaviour), **fields})
        except ValidationError as error:
            first = error.errors()[0]
            return _error_response(f"{first['loc'][0]}: {first['msg']}")
        for name in fields:
            setattr(behaviour, name, getattr(changed, name))
        return _json_response(asdict(behaviour))

    async def register_callback(self, request: Request) -> Response:
        fields = await _read_json(request)
        platform = self.platforms.get(str(fields.get("platform") or "wechat"))
        if platform is None or platform.register_callback is None:
            return _error_response("this platform sends no events")
        return await self._respond_synced(await platform.register_callback(self.state, fields))

    async def reset(self, _request: Request) -> Response:
        self.state.reset()
        return await self._respond_synced({"ok": True})

    def _describe_post(self, post: SimulatedPost) -> dict[str, Any]:
        """Return a post as the control endpoints show it: `text` as received, `shown` as readers see it."""
        thread = self.state.posts.get(post.extra.get("thread", post.id), post)
        return {
            "id": post.id,
            "account": post.account,
            "platform": post.platform,
            "created": post.created,
            "text": post.text if post.extra.get("rewritten", False) else post.extra.get("sent", post.text),
            "shown": post.text,
            "title": post.title,
            "html": post.html,
            "images": post.images,
            "removed": post.state == "removed",
            "visible": self.state.is_listed(post) and self.state.is_listed(thread),
            "url": self.platforms[post.platform].get_public_url(post),
            "state": post.state,
            "removed_by": post.removed_by,
            "extra": post.extra,
        }

    async def _respond_synced(self, value: object) -> Response:
        await self.state.files.wait_synced()
        return _json_response(value)


def _report_errors(handler: Handler) -> Handler:
    """Wrap a handler to respond to invalid input with a 400 that states the error."""

    async def wrapped(request: Request) -> Response:
        try:
            return await handler(request)
        except (TypeError, ValueError) as error:
            return _error_response(str(error))

    return wrapped


def make_control_routes(state: SimulatorState, platforms: Mapping[str, Platform]) -> list[Route]:
    control = ControlApi(state, platforms)
    table: list[tuple[str, str, Handler]] = [
        ("POST", "/_sim/accounts", control.add_account),
        ("GET", "/_sim/accounts", control.list_accounts),
        ("GET", "/_sim/posts", control.list_posts),
        ("POST", "/_sim/posts", control.add_post),
        ("DELETE", "/_sim/posts/{id}", control.remove_post),
        ("GET", "/_sim/log", control.read_log),
        ("POST", "/_sim/faults", control.add_fault),
        ("GET", "/_sim/faults", control.list_faults),
        ("DELETE", "/_sim/faults", control.clear_faults),
        ("POST", "/_sim/clock", control.shift_clock),
        ("POST", "/_sim/review", control.decide_reviews),
        ("GET", "/_sim/settings", control.change_behaviour),
        ("POST", "/_sim/settings", control.change_behaviour),
        ("POST", "/_sim/callbacks", control.register_callback),
        ("POST", "/_sim/reset", control.reset),
    ]
    return [Route(path, _report_errors(handler), methods=[method]) for method, path, handler in table]
