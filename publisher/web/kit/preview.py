"""Previews of unsaved texts: their order of making, and the articles that frames ask for later.

This process has a renderer of its own. It makes previews and checks saved posts. Filed texts come
from the daemon's renderer, long before they are due. They wait for none of this.
"""

import asyncio
import base64
import contextlib
import re
from collections import OrderedDict, defaultdict, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from publisher.config import Settings
from publisher.domain.account import AccountId, Capabilities, Platform
from publisher.domain.cover import CropBox, CropPosition, cut_box, parse_fractions
from publisher.domain.errors import NoSuchItemError, RefusedError
from publisher.domain.post import MEDIA_REFERENCE, RenderedImage, RenderedPost
from publisher.engine.post_check import PostCheck
from publisher.i18n import Messages
from publisher.web.kit.seats import name_accounts

MAX_WAITING_PER_USER = 32
"""Far more than anybody has open. The typed content is in a draft by then."""
MAX_EMBEDDED_BYTES = 24 * 2**20
"""Pictures in the preview of an article. A platform takes far less."""
MAX_ARTICLES_PER_USER, MAX_ARTICLE_CHARACTERS_PER_USER = 8, 32 * 2**20
"""Limits of kept articles for each user.

An article usually has some tens of kilobytes; one with many pictures has some megabytes.
"""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request that waits for its turn; the result is False if a newer one has taken its place."""

    turn: asyncio.Future[bool]
    is_replaceable: bool

    def end(self, *, has_turn: bool) -> bool:
        """End the wait. Return False if it was given up, though its task has not run since."""
        if self.turn.done():
            return False
        self.turn.set_result(has_turn)
        return True


@dataclass(slots=True)
class RenderTurns:
    """The turns of users at the renderer, one at a time. Each user's first request comes first.

    Saves and previews take turns, so neither many saves nor many previews keep the other waiting. A
    user with many requests delays others by no more than the running one.
    """

    is_taken: bool = False
    _saved_last: bool = False
    _saves: dict[str, deque[_Waiting]] = field(default_factory=dict)
    _previews: dict[str, deque[_Waiting]] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def take(
        self, user: str, *, is_save: bool = False, is_replaceable: bool = False
    ) -> AsyncIterator[bool]:
        """Wait for a turn, and yield True.

        Yield False instead, at once, where a newer request of the user is to replace this one while
        it waits. Raises RefusedError if MAX_WAITING_PER_USER of the user's wait.
        """
        has_turn = not self.is_taken or await self._wait(
            user, is_save=is_save, is_replaceable=is_replaceable
        )
        if not has_turn:
            yield False
            return
        self.is_taken = True
        try:
            yield True
        finally:
            self._pass_on()

    async def _wait(self, user: str, *, is_save: bool, is_replaceable: bool) -> bool:
        waiting = _Waiting(
            turn=asyncio.get_running_loop().create_future(),
            is_replaceable=is_replaceable,
        )
        queues = self._saves if is_save else self._previews
        own = queues.setdefault(user, deque())
        if is_replaceable and (
            older := next((each for each in own if each.is_replaceable), None)
        ):
            own.remove(older)
            older.end(has_turn=False)
        if len(own) >= MAX_WAITING_PER_USER:
            raise RefusedError("web_too_many_previews")
        own.append(waiting)
        try:
            return await waiting.turn
        except asyncio.CancelledError:
            if waiting in own:
                own.remove(waiting)
            elif (
                waiting.turn.done()
                and not waiting.turn.cancelled()
                and waiting.turn.result()
            ):
                self._pass_on()  # the turn came in the same moment
            raise

    def _pass_on(self) -> None:
        """Give the turn to the next waiting user. A user who waits for more goes to the end."""
        in_order = (self._saves, self._previews)
        for queues in reversed(in_order) if self._saved_last else in_order:
            while queues:
                user, own = next(iter(queues.items()))
                del queues[user]
                if not own:
                    continue
                waiting = own.popleft()
                if own:
                    queues[user] = own
                if waiting.end(has_turn=True):
                    self._saved_last = queues is self._saves
                    return
        self.is_taken = False


@dataclass(slots=True)
class Articles:
    """The last previewed articles, by permitted user and fingerprint."""

    _kept: dict[str, OrderedDict[str, tuple[str, str]]] = field(default_factory=dict)

    def keep(
        self, user: str, rendered: RenderedPost, media: Mapping[str, tuple[str, bytes]]
    ) -> None:
        """Keep an article for its writer.

        The newest one is always kept, older ones as far as there is room for this user.
        """
        own = self._kept.setdefault(user, OrderedDict())
        if rendered.fingerprint not in own:
            own[rendered.fingerprint] = (
                rendered.title,
                embed_media(rendered.text, media),
            )
        own.move_to_end(rendered.fingerprint)
        size = sum(len(text) for _title, text in own.values())
        while len(own) > 1 and (
            len(own) > MAX_ARTICLES_PER_USER or size > MAX_ARTICLE_CHARACTERS_PER_USER
        ):
            _fingerprint, (_title, text) = own.popitem(last=False)
            size -= len(text)

    def get(self, user: str, fingerprint: str) -> tuple[str, str]:
        """Return the title and the HTML of an article.

        Raises NoSuchItemError if it is gone, or not the user's.
        """
        own = self._kept.get(user)
        if own is None or (article := own.get(fingerprint)) is None:
            raise NoSuchItemError("preview", fingerprint[:16])
        return article


def embed_media(text: str, media: Mapping[str, tuple[str, bytes]]) -> str:
    """Return an article with its pictures in it: a frame without rights can ask for none.

    Pictures beyond MAX_EMBEDDED_BYTES are left out; each has a page of its own.
    """
    room = MAX_EMBEDDED_BYTES

    def data_url(found: re.Match[str]) -> str:
        nonlocal room
        media_type, data = media.get(found[1], ("image/png", b""))
        if len(data) > room:
            return ""
        room -= len(data)
        return f"data:{media_type};base64,{base64.b64encode(data).decode()}"

    return MEDIA_REFERENCE.sub(data_url, text)


def find_cover_box(image: RenderedImage, shape: str) -> CropBox:
    """Return the part of a cover that its platform shows; what is left to it is in the middle."""
    if text := image.crops[shape]:
        return parse_fractions(text, image.width, image.height)
    return cut_box(image.width, image.height, shape, CropPosition())


def split_overflow(
    rendered: RenderedPost, capabilities: Capabilities
) -> tuple[str, str]:
    """Return the part of a text that fits, by the platform's own count, and the excess."""
    text, limit = rendered.text, capabilities.text_limit_beside(len(rendered.images))
    if capabilities.count_text(text) <= limit:
        return text, ""
    fitting, above = 0, len(text)
    while fitting + 1 < above:
        middle = (fitting + above) // 2
        fitting, above = (
            (middle, above)
            if capabilities.count_text(text[:middle]) <= limit
            else (fitting, middle)
        )
    return text[:fitting], text[fitting:]


def choose_texts(
    fields: Mapping[str, Sequence[str]], check: PostCheck
) -> Mapping[Platform, RenderedPost]:
    """Return each platform's text to preview: of the chosen account, else of the tightest one.

    The tightest account has the least room.
    """
    texts: Mapping[str, RenderedPost] = {
        rendered.account: rendered for rendered in check.result.rendered_posts
    }
    chosen = {
        room.platform: texts.get(
            next(iter(fields.get(f"shown.{room.platform}", ())), "")
        )
        for room in check.rooms
    }
    return {
        room.platform: chosen[room.platform] or room.rendered for room in check.rooms
    }


def list_choices(
    settings: Settings, messages: Messages, check: PostCheck
) -> Mapping[Platform, Sequence[tuple[AccountId, str]]]:
    """Return the accounts with previews and their names, in the order of the regions."""
    names = name_accounts(settings, messages)
    choices: dict[Platform, list[tuple[AccountId, str]]] = defaultdict(list)
    for rendered in sorted(
        check.result.rendered_posts, key=lambda one: names.order(one.account)
    ):
        choices[rendered.platform].append(
            (rendered.account, names.region(rendered.account))
        )
    return choices


def measure_title(check: PostCheck, title: str) -> tuple[int, int, str] | None:
    """Return the length of a title, and the limit of the platform that allows the least."""
    limits = [
        (room.capabilities.title_limits[1], room.platform)
        for room in check.rooms
        if room.capabilities.has_title
    ]
    if not limits:
        return None
    limit, platform = min(limits)
    return len(title), limit, platform
