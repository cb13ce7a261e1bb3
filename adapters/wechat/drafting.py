"""All that comes before the creating call: pictures stored, draft made. Every step may be repeated."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from publisher.contract import AdapterKit, Call, Reply
from publisher.domain.outcome import Blocked, HoldReason, Unknown
from publisher.domain.rendition import Parcel, Picture, Rendition

from .codes import NO_SUCH_MEDIA
from .reading import carries, says
from .sign_in import Failed, SignIn
from .wire import (
    Article,
    Trouble,
    decode_articles,
    decode_drafts,
    decode_media_id,
    decode_picture,
    encode_cover,
    encode_draft_add,
    encode_draft_get,
    encode_drafts,
    encode_picture,
    pictures_in,
    put_addresses,
)

MOST_PAGES = 25
"""So far is the draft box searched: 500 drafts."""
PREVIEW = "预览"
"""The author of drafts that are only shown to one person: by it they are never taken for a delivery's own."""
CONSUMED = Failed(outcome=Unknown(reason="draft_consumed", is_duplicate=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafting:
    """Makes the one draft of a delivery, and knows it again after a crash."""

    sign_in: SignIn
    kit: AdapterKit

    async def ready(self, parcel: Parcel) -> str | Failed:
        """Return the id of the delivery's draft, noted for the order that the attempt follows.

        A draft that was noted and has left the box was taken by an earlier submission: no other one is made, unless a
        person has ordered the post again since it was noted.
        """
        draft, ordered_after = await self._note(parcel)
        standing = await self._still_ours(draft, parcel) if draft else None
        if standing is not None and ordered_after == parcel.ordered_after:
            return standing
        if standing is None or standing == CONSUMED:
            standing = await self._lost(parcel) or await self.make(parcel.rendition, parcel.images)
        if isinstance(standing, str):
            note = {"draft": standing, "ordered_after": parcel.ordered_after}
            await self.kit.notes.remember(_key(parcel), json.dumps(note))
            await self.kit.failpoint("step.after_commit")
        return standing

    async def noted(self, parcel: Parcel) -> str | None:
        """Return the id of the draft of the parcel's order. None is submitted before it is noted for that order."""
        draft, ordered_after = await self._note(parcel)
        return draft if ordered_after == parcel.ordered_after else None

    async def read(self, draft: str) -> tuple[Article, ...] | Failed:
        """Read a draft. CONSUMED when the box has it no more."""
        articles = await self.sign_in.ask(
            lambda token: encode_draft_get(self.sign_in.base, token, draft), decode_articles
        )
        return CONSUMED if isinstance(articles, Failed) and articles.code == NO_SUCH_MEDIA else articles

    async def _note(self, parcel: Parcel) -> tuple[str | None, int]:
        """Return the delivery's newest draft, and the `ordered_after` of the attempts that it was last noted for."""
        note = json.loads(await self.kit.notes.recall(_key(parcel)) or "{}")
        return note.get("draft"), note.get("ordered_after", 0)

    async def _lost(self, parcel: Parcel) -> str | Failed | None:
        """Return the draft that an earlier attempt made and could not note; None where there is none."""
        found = await self._in_the_box(parcel) if parcel.attempt > 1 else None
        return await self._still_ours(found, parcel) if isinstance(found, str) else found

    async def _still_ours(self, draft: str, parcel: Parcel) -> str | Failed:
        articles = await self.read(draft)
        if isinstance(articles, Failed):
            return articles
        if len(articles) > 1 or not says(articles[0], parcel.rendition):
            return Failed(outcome=Blocked(code="wechat_draft_changed", reason=draft, hold=HoldReason.EDITED))
        return draft

    async def _in_the_box(self, parcel: Parcel) -> str | Failed | None:
        """Look for a draft that was made but whose id was lost; the newest, where a repeated call made several."""
        matches: list[Article] = []
        offset = 0
        for _ in range(MOST_PAGES):
            page = await self.sign_in.ask(self._drafts_from(offset), decode_drafts)
            if isinstance(page, Failed):
                return page
            matches += [
                article for article in page.articles if carries(article, parcel.marker) and article.author != PREVIEW
            ]
            offset += len(page.ids)
            if not page.ids or offset >= page.total:
                break
        return max(matches, key=lambda article: article.updated_at).id if matches else None

    def _drafts_from(self, offset: int) -> Callable[[str], Call]:
        return lambda token: encode_drafts(self.sign_in.base, token, offset)

    async def make(self, rendition: Rendition, images: Sequence[bytes], *, author: str = "") -> str | Failed:
        """Store the pictures and make a draft of these words; every call of it makes one more."""
        if not rendition.pictures or len(images) != len(rendition.pictures):
            return _image_missing("cover")
        content = await self._content(rendition, images)
        if isinstance(content, Failed):
            return content
        cover = (rendition.pictures[0], images[0])
        made = await self._add(rendition, content, await self._cover(*cover, is_fresh=False), author)
        if isinstance(made, Failed) and made.code == NO_SUCH_MEDIA:  # the cover was deleted on WeChat's side
            return await self._add(rendition, content, await self._cover(*cover, is_fresh=True), author)
        return made

    async def _add(self, rendition: Rendition, content: str, cover: str | Failed, author: str) -> str | Failed:
        if isinstance(cover, Failed):
            return cover
        return await self.sign_in.ask(
            lambda token: encode_draft_add(self.sign_in.base, token, rendition, content, cover, author=author),
            decode_media_id,
        )

    async def _content(self, rendition: Rendition, images: Sequence[bytes]) -> str | Failed:
        """Put the addresses of the stored pictures into the article."""
        known = {picture.sha256: (picture, data) for picture, data in zip(rendition.pictures, images, strict=True)}
        addresses: dict[str, str] = {}
        for sha256 in pictures_in(rendition.text):
            if sha256 not in known:
                return _image_missing(sha256)
            address = await self._picture(*known[sha256])
            if isinstance(address, Failed):
                return address
            addresses[sha256] = address
        return put_addresses(rendition.text, addresses)

    async def _cover(self, picture: Picture, data: bytes, *, is_fresh: bool) -> str | Failed:
        return await self._store(
            f"cover:{picture.sha256}",
            lambda token: encode_cover(self.sign_in.base, token, picture, data),
            decode_media_id,
            is_fresh=is_fresh,
        )

    async def _picture(self, picture: Picture, data: bytes) -> str | Failed:
        return await self._store(
            f"image:{picture.sha256}",
            lambda token: encode_picture(self.sign_in.base, token, picture, data),
            decode_picture,
            is_fresh=False,
        )

    async def _store(
        self, key: str, encode: Callable[[str], Call], decode: Callable[[Reply], str | Trouble], *, is_fresh: bool
    ) -> str | Failed:
        """Upload a picture, once per login."""
        noted = None if is_fresh else await self.kit.notes.recall(key)
        if noted is not None:
            return noted
        stored = await self.sign_in.ask(encode, decode)
        if isinstance(stored, Failed):
            return stored
        await self.kit.failpoint("media.after_upload")
        await self.kit.notes.remember(key, stored)
        return stored


def _key(parcel: Parcel) -> str:
    return f"draft:{parcel.delivery}"


def _image_missing(what: str) -> Failed:
    return Failed(outcome=Blocked(code="wechat_image_missing", reason=what, hold=HoldReason.IMAGE_MISSING))
