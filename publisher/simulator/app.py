"""Puts the platforms, the control endpoints and the pages under one roof."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from . import tieba, wechat, weibo
from .control import control_routes
from .door import Door
from .feed import feed_routes
from .world import World


class Simulator(Starlette):
    """Calls to the platforms take the short way past the router: they are many."""

    def __init__(self, world: World) -> None:
        self.world = world
        sides = {side.name: side for side in (weibo.create(world), wechat.create(world), tieba.create(world))}
        self._door = Door(world, sides)
        super().__init__(routes=[*control_routes(world, sides), *feed_routes(world)], lifespan=_lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/_sim"):
            await self._door(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    world = app.world if isinstance(app, Simulator) else None
    if world:
        world.tick()
    yield
    if world:
        world.disk.close()


def create_app(state_dir: Path | None = None) -> Starlette:
    """An application with an empty world, or with the world last kept in `state_dir`."""
    return Simulator(World(state_dir))
