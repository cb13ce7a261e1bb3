"""Previews: a post is shown to one person, as a draft of its very words, before it goes out to all."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from publisher.contract import AdapterKit
from publisher.domain.outcome import Preview, RateLimited, Shown
from publisher.domain.quota import BEIJING
from publisher.domain.rendition import Rendition

from .codes import next_midnight
from .drafting import CONSUMED, PREVIEW, Drafting
from .mass import encode_preview
from .sign_in import Failed, SignIn
from .wire import decode_done

PER_DAY = 100
"""As many as WeChat sends to people by name in a day (developers.weixin.qq.com, preview, as users quote it)."""
_COUNT = "previews"


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """Shows renditions of one account. No call of it can make anything public."""

    sign_in: SignIn
    kit: AdapterKit
    drafting: Drafting

    async def show(self, rendition: Rendition, images: Sequence[bytes], to: str) -> Preview:
        """Send one preview; several of the same words share one draft."""
        today = self.kit.now().astimezone(BEIJING).date().isoformat()
        number = await self._shown_on(today)
        if number >= PER_DAY:
            return RateLimited(code="wechat_previews_used_up", until=next_midnight(self.kit.now()))
        draft = await self._draft(rendition, images)
        if isinstance(draft, Failed):
            return draft.outcome
        await self.kit.notes.remember(_COUNT, json.dumps({"day": today, "number": number + 1}))
        sent = await self.sign_in.ask(lambda token: encode_preview(self.sign_in.base, token, draft, to), decode_done)
        return sent.outcome if isinstance(sent, Failed) else Shown()

    async def _shown_on(self, day: str) -> int:
        noted = json.loads(await self.kit.notes.recall(_COUNT) or "{}")
        return int(noted["number"]) if noted.get("day") == day else 0

    async def _draft(self, rendition: Rendition, images: Sequence[bytes]) -> str | Failed:
        key = f"preview:{rendition.fingerprint}"
        noted = await self.kit.notes.recall(key)
        standing = await self.drafting.read(noted) if noted is not None else CONSUMED
        if noted is not None and not isinstance(standing, Failed):
            return noted
        if standing != CONSUMED and isinstance(standing, Failed):
            return standing
        made = await self.drafting.make(rendition, images, author=PREVIEW)
        if isinstance(made, str):
            await self.kit.notes.remember(key, made)
        return made
