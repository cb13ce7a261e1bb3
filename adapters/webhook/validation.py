"""What a receiver need not take. Pure."""

from collections.abc import Iterator, Sequence

from publisher.domain.account import Account
from publisher.domain.errors import Problem
from publisher.domain.rendered import RenderedImage, RenderedPost

from .capabilities import CAPABILITIES

PICTURE_MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
MAX_PICTURE_BYTES = 5 * 1024 * 1024


def get_base_url(account: Account) -> str | None:
    """Give where an account's receiver listens."""
    address = account.base_url or account.options.get("url")
    return address.rstrip("/") if address else None


def find_problems(rendered: RenderedPost, account: Account) -> Sequence[Problem]:
    return (*_check_account(account), *_check_texts(rendered), *_check_pictures(rendered.images))


def _check_account(account: Account) -> Iterator[Problem]:
    address = get_base_url(account)
    if address is None or not address.startswith(("http://", "https://")):
        yield Problem(code="webhook_no_address", facts={"account": account.id})


def _check_texts(rendered: RenderedPost) -> Iterator[Problem]:
    shortest, longest = CAPABILITIES.title_limits
    length = CAPABILITIES.count_text(rendered.title.strip())
    if not shortest <= length <= longest:
        facts = {"length": str(length), "shortest": str(shortest), "longest": str(longest)}
        yield Problem(code="webhook_title_length", facts=facts)
    size = CAPABILITIES.count_text(rendered.text)
    if size > CAPABILITIES.text_limit:
        yield Problem(code="webhook_text_too_long", facts={"length": str(size), "limit": str(CAPABILITIES.text_limit)})


def _check_pictures(pictures: Sequence[RenderedImage]) -> Iterator[Problem]:
    if len(pictures) > CAPABILITIES.picture_limit:
        facts = {"count": str(len(pictures)), "limit": str(CAPABILITIES.picture_limit)}
        yield Problem(code="webhook_too_many_images", facts=facts)
    for picture in pictures:
        if picture.media_type not in PICTURE_MEDIA_TYPES:
            yield Problem(code="webhook_image_type", facts={"type": picture.media_type})
        if picture.size > MAX_PICTURE_BYTES:
            yield Problem(code="webhook_image_size", facts={"megabytes": f"{picture.size / 1024 / 1024:.1f}"})
