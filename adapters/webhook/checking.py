"""What a receiver need not take. Pure."""

from collections.abc import Iterator, Sequence

from publisher.domain.account import Account
from publisher.domain.problem import Problem
from publisher.domain.rendition import Picture, Rendition

from .traits import TRAITS

PICTURE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
PICTURE_BYTES = 5 * 1024 * 1024


def address_of(account: Account) -> str | None:
    """Give where an account's receiver listens."""
    address = account.base_url or account.options.get("url")
    return address.rstrip("/") if address else None


def problems_of(rendition: Rendition, account: Account) -> Sequence[Problem]:
    return (*_account(account), *_words(rendition), *_pictures(rendition.pictures))


def _account(account: Account) -> Iterator[Problem]:
    address = address_of(account)
    if address is None or not address.startswith(("http://", "https://")):
        yield Problem(code="webhook_no_address", facts={"account": account.id})


def _words(rendition: Rendition) -> Iterator[Problem]:
    shortest, longest = TRAITS.title_limits
    length = TRAITS.measure(rendition.title.strip())
    if not shortest <= length <= longest:
        facts = {"length": str(length), "shortest": str(shortest), "longest": str(longest)}
        yield Problem(code="webhook_title_length", facts=facts)
    size = TRAITS.measure(rendition.text)
    if size > TRAITS.text_limit:
        yield Problem(code="webhook_text_too_long", facts={"length": str(size), "limit": str(TRAITS.text_limit)})


def _pictures(pictures: Sequence[Picture]) -> Iterator[Problem]:
    if len(pictures) > TRAITS.picture_limit:
        facts = {"count": str(len(pictures)), "limit": str(TRAITS.picture_limit)}
        yield Problem(code="webhook_too_many_pictures", facts=facts)
    for picture in pictures:
        if picture.media_type not in PICTURE_TYPES:
            yield Problem(code="webhook_picture_type", facts={"type": picture.media_type})
        if picture.size > PICTURE_BYTES:
            yield Problem(code="webhook_picture_size", facts={"megabytes": f"{picture.size / 1024 / 1024:.1f}"})
