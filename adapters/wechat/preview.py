"""Previews: a post is shown to one person, as a draft of its very words, before it goes out to all."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from publisher.contract import AdapterContext
from publisher.domain.rate_limit import BEIJING
from publisher.domain.rendered import RenderedPost
from publisher.domain.results import PreviewResult, PreviewSent, RateLimited

from .api import decode_success
from .auth import FailedCall, WeChatAuth
from .codes import get_next_midnight
from .drafts import DRAFT_CONSUMED, PREVIEW_AUTHOR, DraftBox
from .mass_api import encode_preview

MAX_PREVIEWS_PER_DAY = 100
"""As many as WeChat sends to people by name in a day (developers.weixin.qq.com, preview, as users quote it)."""
_COUNT_KEY = "previews"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewSender:
    """Shows renditions of one account. No call of it can make anything public."""

    auth: WeChatAuth
    context: AdapterContext
    drafts: DraftBox

    async def send(self, rendered: RenderedPost, images: Sequence[bytes], recipient: str) -> PreviewResult:
        """Send one preview; several of the same words share one draft."""
        today = self.context.now().astimezone(BEIJING).date().isoformat()
        number = await self._count_sent_on(today)
        if number >= MAX_PREVIEWS_PER_DAY:
            return RateLimited(code="wechat_previews_used_up", until=get_next_midnight(self.context.now()))
        draft = await self._ensure_draft(rendered, images)
        if isinstance(draft, FailedCall):
            return draft.outcome
        await self.context.state.set(_COUNT_KEY, json.dumps({"day": today, "number": number + 1}))
        sent = await self.auth.fetch(
            lambda token: encode_preview(self.auth.base_url, token, draft, recipient), decode_success
        )
        return sent.outcome if isinstance(sent, FailedCall) else PreviewSent()

    async def _count_sent_on(self, day: str) -> int:
        noted = json.loads(await self.context.state.get(_COUNT_KEY) or "{}")
        return int(noted["number"]) if noted.get("day") == day else 0

    async def _ensure_draft(self, rendered: RenderedPost, images: Sequence[bytes]) -> str | FailedCall:
        key = f"preview:{rendered.fingerprint}"
        noted = await self.context.state.get(key)
        standing = await self.drafts.read(noted) if noted is not None else DRAFT_CONSUMED
        if noted is not None and not isinstance(standing, FailedCall):
            return noted
        if standing != DRAFT_CONSUMED and isinstance(standing, FailedCall):
            return standing
        made = await self.drafts.create(rendered, images, author=PREVIEW_AUTHOR)
        if isinstance(made, str):
            await self.context.state.set(key, made)
        return made
