"""Puts the platforms, the control endpoints and the pages under one roof."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from . import tieba, wechat, weibo
from .control import make_control_routes
from .feed_pages import make_feed_routes
from .gateway import Gateway
from .state import SimulatorState


class Simulator(Starlette):
    """Calls to the platforms take the short way past the router: they are many."""

    def __init__(self, state: SimulatorState) -> None:
        self.simulator_state = state
        platforms = {
            platform.name: platform
            for platform in (weibo.create_platform(state), wechat.create_platform(state), tieba.create_platform(state))
        }
        self._gateway = Gateway(state, platforms)
        super().__init__(routes=[*make_control_routes(state, platforms), *make_feed_routes(state)], lifespan=_lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/_sim"):
            await self._gateway(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    state = app.simulator_state if isinstance(app, Simulator) else None
    if state:
        state.run_due()
    yield
    if state:
        state.files.close()


def create_app(state_dir: Path | None = None) -> Starlette:
    """An application with an empty world, or with the world last kept in `state_dir`."""
    return Simulator(SimulatorState(state_dir))
