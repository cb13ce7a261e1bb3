"""Endpoints for tests and demos to control the simulator."""

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

Handler = Callable[[Request], Awaitable[object]]
"""Returns the content of a JSON response, or JSON as bytes.

Raises TypeError or ValueError for invalid input.
"""

_BEHAVIOUR_ADAPTER = TypeAdapter(Behaviour)


class NoSuchPostError(Exception):
    """No post has the id that a call names."""


async def _read_json(request: Request) -> dict[str, Any]:
    """Return the JSON object sent; raises ValueError or TypeError if there is none."""
    body = await request.body()
    value = json.loads(body) if body else {}
    if not isinstance(value, dict):
        raise TypeError("a JSON object is expected")
    return value


class ControlApi:
    def __init__(
        self, state: SimulatorState, platforms: Mapping[str, Platform]
    ) -> None:
        self.state = state
        self.platforms = platforms

    async def add_account(self, request: Request) -> object:
        fields = await _read_json(request)
        platform, identity = (
            str(fields.get("platform") or ""),
            str(fields.get("account") or ""),
        )
        if platform not in self.platforms or not identity:
            raise ValueError("platform (weibo, wechat or tieba) and account are needed")
        fields_of_secret = fields.get("secret") or {}
        if not isinstance(fields_of_secret, dict):
            raise TypeError("secret is an object of fields, such as access_token")
        given = {name: str(value) for name, value in fields_of_secret.items()}
        secret = self.platforms[platform].make_secret(identity) | given
        account = self.state.ensure_account(platform, identity)
        account.name = str(fields.get("name") or account.name)
        account.forums = [str(each) for each in fields.get("forums") or account.forums]
        account.secret = secret
        self.state.save_account(account)
        return secret

    async def list_accounts(self, _request: Request) -> object:
        return [
            {
                "platform": each.platform,
                "account": each.identity,
                "name": each.display_name,
                "forums": each.forums,
            }
            for each in self.state.accounts.values()
        ]

    async def list_posts(self, request: Request) -> object:
        self.state.run_due()
        account = request.query_params.get("account")
        platform = request.query_params.get("platform")
        with_replies = request.query_params.get("floors") == "1"
        return [
            self._describe_post(post)
            for post in self.state.posts.values()
            if account in (None, post.account) and platform in (None, post.platform)
            if with_replies or "thread" not in post.extra
        ]

    async def add_post(self, request: Request) -> object:
        fields = await _read_json(request)
        if fields.get("platform") not in self.platforms or not fields.get("account"):
            raise ValueError("platform and account are needed")
        self.state.ensure_account(fields["platform"], str(fields["account"]))
        post = self.state.create_post(
            None,
            self.platforms[fields["platform"]].make_external_post(self.state, fields),
        )
        return self._describe_post(post)

    async def remove_post(self, request: Request) -> object:
        post = self.state.posts.get(request.path_params["id"])
        if post is None:
            raise NoSuchPostError
        if post.state != "removed":
            self.state.remove_post(post, "platform")
        return self._describe_post(post)

    async def read_log(self, request: Request) -> object:
        self.state.run_due()
        return self.state.event_log.read_since(
            int(request.query_params.get("since") or 0)
        )

    async def add_fault(self, request: Request) -> object:
        return {"id": self.state.fault_rules.add(await _read_json(request))}

    async def list_faults(self, _request: Request) -> object:
        return [rule.to_json() for rule in self.state.fault_rules.rules]

    async def clear_faults(self, _request: Request) -> object:
        return {"cleared": self.state.fault_rules.clear()}

    async def shift_clock(self, request: Request) -> object:
        self.state.shift_clock(float((await _read_json(request)).get("shift") or 0))
        return {"now": self.state.now(), "shift": self.state.clock_shift}

    async def decide_reviews(self, request: Request) -> object:
        fields = await _read_json(request)
        verdict, post_id = fields.get("verdict"), str(fields.get("post_id") or "")
        account = str(fields.get("account") or "")
        if verdict not in ("pass", "refuse", "hold"):
            raise ValueError("verdict must be pass, refuse or hold")
        selected = [
            post
            for post in self.state.posts.values()
            if account in ("", post.account)
            and (
                post_id in (post.id, str(post.extra.get("publish_id", "")))
                if post_id
                else post.state == "review"
            )
        ]
        if post_id and not selected:
            raise NoSuchPostError
        for post in selected:
            self.state.decide_review(post, verdict)
        return {"judged": [post.id for post in selected]}

    async def change_behaviour(self, request: Request) -> object:
        behaviour = self.state.behaviour
        fields = await _read_json(request) if request.method == "POST" else {}
        if unknown := [name for name in fields if not hasattr(behaviour, name)]:
            raise ValueError(f"no setting {unknown[0]}")
        try:
            changed = _BEHAVIOUR_ADAPTER.validate_python(
                {**asdict(behaviour), **fields}
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{first['loc'][0]}: {first['msg']}") from error
        for name in fields:
            setattr(behaviour, name, getattr(changed, name))
        return asdict(behaviour)

    async def register_callback(self, request: Request) -> object:
        fields = await _read_json(request)
        platform = self.platforms.get(str(fields.get("platform") or "wechat"))
        if platform is None or platform.register_callback is None:
            raise ValueError("this platform sends no events")
        return await platform.register_callback(self.state, fields)

    async def reset(self, _request: Request) -> object:
        self.state.reset()
        return {"ok": True}

    def _describe_post(self, post: SimulatedPost) -> dict[str, Any]:
        """Return a post as the control endpoints show it.

        `text` is as received, `shown` as readers see it.
        """
        thread = self.state.posts.get(post.extra.get("thread", post.id), post)
        return {
            "id": post.id,
            "account": post.account,
            "platform": post.platform,
            "created": post.created,
            "text": post.text
            if post.extra.get("rewritten", False)
            else post.extra.get("sent", post.text),
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


def _make_endpoint(
    state: SimulatorState, handler: Handler
) -> Callable[[Request], Awaitable[Response]]:
    """Wrap a handler to respond in JSON once all is on disk, and with the error that it raises."""

    async def endpoint(request: Request) -> Response:
        status = 200
        try:
            content = await handler(request)
        except (TypeError, ValueError) as error:
            content, status = {"error": str(error)}, 400
        except NoSuchPostError:
            content, status = {"error": "no such post"}, 404
        await state.files.wait_synced()
        body = content if isinstance(content, bytes) else to_json(content)
        return Response(body, status, media_type="application/json")

    return endpoint


def make_control_routes(
    state: SimulatorState, platforms: Mapping[str, Platform]
) -> list[Route]:
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
    return [
        Route(path, _make_endpoint(state, handler), methods=[method])
        for method, path, handler in table
    ]
