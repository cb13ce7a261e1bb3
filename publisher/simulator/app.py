"""The application: the platforms, the control endpoints and the pages."""

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
    """The ASGI application; platform calls bypass the router, which would slow down their large number."""

    def __init__(self, state: SimulatorState) -> None:
        self.simulator_state = state
        platforms = {each.name: each for each in (module.create_platform(state) for module in (weibo, wechat, tieba))}
        self._gateway = Gateway(state, platforms)

        @contextlib.asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            state.run_due()
            yield
            state.files.close()

        super().__init__(routes=[*make_control_routes(state, platforms), *make_feed_routes(state)], lifespan=lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/_sim"):
            await self._gateway(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(state_dir: Path | None = None) -> Starlette:
    """Create an application with an empty state, or with the state last kept in `state_dir`."""
    return Simulator(SimulatorState(state_dir))
