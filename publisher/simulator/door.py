"""The way of one call through a platform: received, spoiled or served, recorded, answered."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from starlette.types import Receive, Scope, Send

from .call import JSON_TYPE, Answer, Call, read_form
from .faults import REFUSALS, Fault
from .log import to_json
from .side import Side
from .wire import Wire, headers_of, peer_of, read_body
from .world import World

PREFIXES = {
    "2": "weibo",
    "oauth2": "weibo",
    "proxy": "weibo",
    "cgi-bin": "wechat",
    "datacube": "wechat",
    "c": "tieba",
    "dc": "tieba",
    "f": "tieba",
}
PAGE = b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>The page cannot be shown</h1></body></html>"


class Door:
    """The ASGI application behind which the platforms stand."""

    def __init__(self, world: World, sides: Mapping[str, Side]) -> None:
        self.world = world
        self.sides = sides

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        side = self.sides.get(PREFIXES.get(path.lstrip("/").split("/", 1)[0], ""))
        wire = Wire(receive, send, self.world.now)
        if side is None:
            await wire.send(Answer(b"404 Not Found", 404, "text/plain"))
            return
        began = self.world.now()
        body = await read_body(receive)
        if body is None:
            return
        query = read_form(scope["query_string"].decode("latin-1")) if scope["query_string"] else {}
        call = Call(side.name, path, scope["method"], headers_of(scope), query, body, peer=peer_of(scope), began=began)
        await self._attend(call, side, wire)

    async def _attend(self, call: Call, side: Side, wire: Wire) -> None:
        world = self.world
        world.tick()
        call.account = side.who(call)
        call.faults = world.rules.firing(call.platform, call.account, call.endpoint)
        call.number = world.note("recv", None, call)
        if not call.faults:
            answer = self._serve(call, side)
            world.note("reply", None, call, answer.status)
            await world.disk.synced()
            await wire.send(answer)
            return
        await self._misbehave(call, side, wire)

    def _serve(self, call: Call, side: Side) -> Answer:
        handler = side.endpoints.get(call.endpoint)
        return handler(call) if handler else side.unknown(call)

    async def _misbehave(self, call: Call, side: Side, wire: Wire) -> None:
        if late := call.fault("act_late"):
            self.world.at(self.world.now() + float(late.get("seconds", 5)), lambda: self._act_alone(call, side))
        if late or call.fault("drop_before"):
            await self._cut(wire)
            return
        delay = call.fault("delay")
        if delay and delay.get("when") == "before":
            await self._wait(delay)
        answer = self._spoiled(call, side)
        if delay and delay.get("when") != "before":
            await self._wait(delay)
        if call.fault("drop_after"):
            await self._cut(wire)
            return
        self.world.note("reply", None, call, answer.status)
        await self.world.disk.synced()
        await self._leave(call, answer, wire)

    def _act_alone(self, call: Call, side: Side) -> None:
        self._serve(call, side)

    async def _cut(self, wire: Wire) -> None:
        await self.world.disk.synced()
        await wire.cut()

    async def _wait(self, fault: Fault) -> None:
        await self.world.disk.synced()
        await asyncio.sleep(float(fault.get("seconds", 1)))

    async def _leave(self, call: Call, answer: Answer, wire: Wire) -> None:
        if cut := call.fault("truncate"):
            await wire.truncate(answer, int(cut.get("bytes", len(answer.body) // 2)))
        elif slow := call.fault("drip"):
            rate = float(slow.get("bytes_per_second") or slow.get("rate") or 1)
            await wire.drip(answer, rate, complete=bool(slow.get("complete")))
        else:
            await wire.send(answer)

    def _spoiled(self, call: Call, side: Side) -> Answer:
        refusal = next((fault for fault in call.faults if fault["kind"] in REFUSALS), None)
        answer = self._refused(call, side, refusal) if refusal else self._serve(call, side)
        for fault in call.faults:
            if spoil := SPOILERS.get(fault["kind"]):
                answer = spoil(answer, fault, call, side)
        return answer

    def _refused(self, call: Call, side: Side, fault: Fault) -> Answer:
        if fault["kind"] == "expire_token":
            return side.expire(call) or self._serve(call, side)
        code = str(fault.get("code", side.codes.get(fault["kind"], "")))
        own = fault["kind"] not in ("status", "html")
        if fault.get("acts", own and code in side.late_success):
            self._serve(call, side)
        if own:
            return side.refuse(call, code, fault.get("message"))
        return _http(fault)


def _http(fault: Fault) -> Answer:
    page = fault["kind"] == "html"
    body = fault.get("body")
    return Answer(
        body.encode() if isinstance(body, str) else (PAGE if page else b""),
        int(fault.get("code", 200 if page else 503)),
        "text/html; charset=utf-8" if page else str(fault.get("type", JSON_TYPE)),
        {str(name): str(value) for name, value in (fault.get("headers") or {}).items()},
    )


Spoiler = Callable[[Answer, Fault, Call, Side], Answer]


def _bad_json(answer: Answer, _fault: Fault, _call: Call, _side: Side) -> Answer:
    return replace(answer, body=answer.body[: max(len(answer.body) - 1, 0)] + b',"')


def _no_id(answer: Answer, _fault: Fault, _call: Call, side: Side) -> Answer:
    if answer.body[:1] not in (b"{", b"["):  # no JSON: a page, or the side has left the ids out itself
        return answer
    return Answer(to_json(_without(json.loads(answer.body), side.id_keys)), answer.status, answer.type)


def _without(value: object, keys: frozenset[str]) -> object:
    """At the top and in Tieba's `data`, where ids may stand as well."""
    if isinstance(value, dict):
        return {key: _without(each, keys) if key == "data" else each for key, each in value.items() if key not in keys}
    return value


def _wrong_account(answer: Answer, fault: Fault, call: Call, _side: Side) -> Answer:
    """The same answer in another account's name: `to`, or the identity with its last character changed."""
    own = call.account
    other = str(fault.get("to") or (own[:-1] + ("1" if own[-1:] != "1" else "2")))
    return replace(answer, body=answer.body.replace(own.encode(), other.encode())) if own else answer


SPOILERS: dict[str, Spoiler] = {"bad_json": _bad_json, "no_id": _no_id, "wrong_account": _wrong_account}
