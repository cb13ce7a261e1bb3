"""The steps before the creating call: store the pictures, create the draft.

Every step may be repeated.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from adapters.wechat import api
from publisher.contract import AdapterContext, HttpRequest, HttpResponse
from publisher.domain.post import RenderedImage, RenderedPost, SendRequest
from publisher.domain.results import Blocked, HoldReason, Unknown

from .auth import FailedCall, WeChatAuth
from .codes import NO_SUCH_MEDIA
from .post_list import has_marker, has_same_text

MAX_DRAFT_PAGES = 25
"""How much of the draft box is searched: 500 drafts."""
PREVIEW_AUTHOR = "预览"
"""The author of preview drafts; drafts with it are never taken for a delivery's own."""
DRAFT_CONSUMED = FailedCall(
    outcome=Unknown(reason="wechat_draft_consumed", is_duplicate=True)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftBox:
    """Creates the one draft of a delivery, and recognises it after a crash."""

    auth: WeChatAuth
    context: AdapterContext

    async def ensure_draft(self, request: SendRequest) -> str | FailedCall:
        """Return the id of the delivery's draft, recorded for the attempt's resend order.

        The attempt follows this order. A recorded draft that has left the box was consumed by an
        earlier submission. No other one is created, unless a person has ordered a resend since it
        was recorded. A draft with an id lost in a crash is searched in the box.
        """
        recorded, ordered_after = await self._read_record(request)
        if recorded:
            own = await self._verify_own(recorded, request)
            if ordered_after == request.resend_after_attempt:
                return own
            if own != DRAFT_CONSUMED:
                return await self._record(own, request)
        found = await self._find_in_box(request) if request.attempt > 1 else None
        if isinstance(found, FailedCall):
            return found
        if found is None:
            return await self._record(
                await self.create(request.rendered, request.images), request
            )
        return await self._record(await self._verify_own(found, request), request)

    async def _record(
        self, draft: str | FailedCall, request: SendRequest
    ) -> str | FailedCall:
        """Record a draft for the attempt's resend order, unless it has failed; return it."""
        if isinstance(draft, str):
            note = {"draft": draft, "ordered_after": request.resend_after_attempt}
            await self.context.state.set(_build_state_key(request), json.dumps(note))
            await self.context.failpoint("step.after_commit")
        return draft

    async def get_recorded(self, request: SendRequest) -> str | None:
        """Return the draft of the request's resend order.

        A draft is recorded for an order before it is submitted.
        """
        draft, ordered_after = await self._read_record(request)
        return draft if ordered_after == request.resend_after_attempt else None

    async def read(self, draft: str) -> tuple[api.WeChatArticle, ...] | FailedCall:
        """Read a draft; DRAFT_CONSUMED where it is no longer in the box."""
        articles = await self.auth.fetch(
            partial(api.encode_draft_get, draft=draft), api.decode_articles
        )
        return (
            DRAFT_CONSUMED
            if isinstance(articles, FailedCall) and articles.code == NO_SUCH_MEDIA
            else articles
        )

    async def _read_record(self, request: SendRequest) -> tuple[str | None, int]:
        """Return the delivery's newest draft, and `ordered_after` of its last record.

        These are the attempts that it was last recorded for.
        """
        note = json.loads(
            await self.context.state.get(_build_state_key(request)) or "{}"
        )
        return note.get("draft"), note.get("ordered_after", 0)

    async def _verify_own(self, draft: str, request: SendRequest) -> str | FailedCall:
        articles = await self.read(draft)
        if isinstance(articles, FailedCall):
            return articles
        if len(articles) > 1 or not has_same_text(articles[0], request.rendered):
            return FailedCall(
                outcome=Blocked(
                    code="wechat_draft_changed",
                    reason=draft,
                    hold_reason=HoldReason.EDITED,
                )
            )
        return draft

    async def _find_in_box(self, request: SendRequest) -> str | FailedCall | None:
        """Return the newest draft in the box that carries the marker.

        A repeated call may have created several.
        """
        matches: list[api.WeChatArticle] = []
        offset = 0
        for _ in range(MAX_DRAFT_PAGES):
            page = await self.auth.fetch(
                partial(api.encode_drafts, offset=offset), api.decode_drafts
            )
            if isinstance(page, FailedCall):
                return page
            matches += [
                article
                for article in page.articles
                if has_marker(article, request.marker)
                and article.author != PREVIEW_AUTHOR
            ]
            offset += len(page.ids)
            if not page.ids or offset >= page.total:
                break
        return (
            max(matches, key=lambda article: article.updated_at).id if matches else None
        )

    async def create(
        self, rendered: RenderedPost, images: Sequence[bytes], *, author: str = ""
    ) -> str | FailedCall:
        """Store the pictures and create a draft; every call creates another one."""
        if not rendered.images or len(images) != len(rendered.images):
            return _block_for_missing_image("cover")
        content = await self._fill_content(rendered, images)
        if isinstance(content, FailedCall):
            return content
        cover = (rendered.images[0], images[0])
        draft = await self._add_draft(
            rendered, content, await self._upload_cover(*cover, is_fresh=False), author
        )
        # the cover was deleted on WeChat's side
        if isinstance(draft, FailedCall) and draft.code == NO_SUCH_MEDIA:
            return await self._add_draft(
                rendered,
                content,
                await self._upload_cover(*cover, is_fresh=True),
                author,
            )
        return draft

    async def _add_draft(
        self, rendered: RenderedPost, content: str, cover: str | FailedCall, author: str
    ) -> str | FailedCall:
        if isinstance(cover, FailedCall):
            return cover
        return await self.auth.fetch(
            partial(
                api.encode_draft_add,
                rendered=rendered,
                content=content,
                cover=cover,
                author=author,
            ),
            api.decode_media_id,
        )

    async def _fill_content(
        self, rendered: RenderedPost, images: Sequence[bytes]
    ) -> str | FailedCall:
        """Store the article's pictures and return its HTML with their URLs."""
        pictures = {
            picture.sha256: (picture, data)
            for picture, data in zip(rendered.images, images, strict=True)
        }
        urls: dict[str, str] = {}
        for sha256 in api.find_pictures(rendered.text):
            if sha256 not in pictures:
                return _block_for_missing_image(sha256)
            picture, data = pictures[sha256]
            encode = partial(api.encode_picture, picture=picture, data=data)
            url = await self._upload_once(f"image:{sha256}", encode, api.decode_picture)
            if isinstance(url, FailedCall):
                return url
            urls[sha256] = url
        return api.insert_picture_urls(rendered.text, urls)

    async def _upload_cover(
        self, picture: RenderedImage, data: bytes, *, is_fresh: bool
    ) -> str | FailedCall:
        return await self._upload_once(
            f"cover:{picture.sha256}",
            partial(api.encode_cover, picture=picture, data=data),
            api.decode_media_id,
            is_fresh=is_fresh,
        )

    async def _upload_once(
        self,
        key: str,
        encode: Callable[[str, str], HttpRequest],
        decode: Callable[[HttpResponse], str | api.ErrorResponse],
        *,
        is_fresh: bool = False,
    ) -> str | FailedCall:
        """Upload a picture once per login; a fresh upload ignores an earlier one."""
        recorded = None if is_fresh else await self.context.state.get(key)
        if recorded is not None:
            return recorded
        stored = await self.auth.fetch(encode, decode)
        if isinstance(stored, FailedCall):
            return stored
        await self.context.failpoint("media.after_upload")
        await self.context.state.set(key, stored)
        return stored


def _build_state_key(request: SendRequest) -> str:
    return f"draft:{request.delivery}"


def _block_for_missing_image(what: str) -> FailedCall:
    return FailedCall(
        outcome=Blocked(
            code="wechat_image_missing",
            reason=what,
            hold_reason=HoldReason.IMAGE_MISSING,
        )
    )
