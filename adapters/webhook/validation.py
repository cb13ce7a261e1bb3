"""What a receiver need not accept. Pure."""

from collections.abc import Sequence

from publisher.domain.account import Account
from publisher.domain.errors import Problem
from publisher.domain.rendered import RenderedPost

from .capabilities import CAPABILITIES

PICTURE_MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
MAX_PICTURE_BYTES = 5 * 1024 * 1024


def get_base_url(account: Account) -> str | None:
    """Return the URL at which an account's receiver listens."""
    address = account.base_url or account.options.get("url")
    return address.rstrip("/") if address else None


def find_problems(rendered: RenderedPost, account: Account) -> Sequence[Problem]:
    problems: list[Problem] = []
    url = get_base_url(account)
    if url is None or not url.startswith(("http://", "https://")):
        problems.append(Problem(code="webhook_no_address", facts={"account": account.id}))
    shortest, longest = CAPABILITIES.title_limits
    length = CAPABILITIES.count_text(rendered.title.strip())
    if not shortest <= length <= longest:
        facts = {"length": str(length), "shortest": str(shortest), "longest": str(longest)}
        problems.append(Problem(code="webhook_title_length", facts=facts))
    length = CAPABILITIES.count_text(rendered.text)
    if length > CAPABILITIES.text_limit:
        facts = {"length": str(length), "limit": str(CAPABILITIES.text_limit)}
        problems.append(Problem(code="webhook_text_too_long", facts=facts))
    if len(rendered.images) > CAPABILITIES.picture_limit:
        facts = {"count": str(len(rendered.images)), "limit": str(CAPABILITIES.picture_limit)}
        problems.append(Problem(code="webhook_too_many_images", facts=facts))
    for picture in rendered.images:
        if picture.media_type not in PICTURE_MEDIA_TYPES:
            problems.append(Problem(code="webhook_image_type", facts={"type": picture.media_type}))
        if picture.size > MAX_PICTURE_BYTES:
            facts = {"megabytes": f"{picture.size / 1024 / 1024:.1f}"}
            problems.append(Problem(code="webhook_image_size", facts=facts))
    return problems
