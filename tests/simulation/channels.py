"""Channels of alerts in simulated time.

People read the accepted messages. Broken channels refuse, or hang.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from publisher.app.alert_channels import SEND_TIMEOUT_SECONDS
from publisher.domain.errors import Problem
from tests.simulation.loop import VirtualLoop

REFUSE, HANG = "refuse", "hang"
ANSWER_SECONDS = 0.3
"""How long a channel that works takes at most."""


@dataclass(slots=True)
class Channels:
    """All channels, timed by the loop."""

    loop: VirtualLoop
    now: Callable[[], float]
    broken: dict[str, str] = field(default_factory=dict)
    """How each channel fails that does."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    """The requests to the channels, as the checker reads them."""
    texts: list[str] = field(default_factory=list)
    """The texts that people have read."""

    async def send(
        self,
        channel: str,
        *,
        ids: Sequence[str],
        title: str,
        body: str,
        is_problem: bool = True,
    ) -> Problem | None:
        """Take a message as `AlertChannels.send` does."""
        await asyncio.sleep(
            self.loop.rng.random() * ANSWER_SECONDS
        )  # simulated time, as below
        fault = self.broken.get(channel)
        self.messages += [
            {
                "channel": channel,
                "key": key,
                "at": self.now(),
                "is_accepted": fault is None,
            }
            for key in ids
        ]
        if fault == HANG:
            await asyncio.sleep(SEND_TIMEOUT_SECONDS)
            return Problem(
                code="channel_timeout", facts={"seconds": f"{SEND_TIMEOUT_SECONDS:.0f}"}
            )
        if fault == REFUSE:
            return Problem(code="channel_refused", facts={"code": "500", "said": ""})
        self.texts.append(f"{'!' if is_problem else ' '} {title}: {body}")
        return None
