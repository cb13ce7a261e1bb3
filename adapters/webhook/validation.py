"""What a receiver need not accept. Pure."""

from collections.abc import Sequence

from publisher.domain.account import Account
from publisher.domain.errors import Problem
from publisher.domain.post import RenderedPost

from .capabilities import CAPABILITIES, get_base_url

PICTURE_MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
MAX_PICTURE_BYTES = 5 * 1024 * 1024


def find_problems(account: Account, rendered: RenderedPost) -> Sequence[Problem]:
    problems: list[Problem] = []

    def report(code: str, **facts: str) -> None:
        problems.append(Problem(code=code, facts=facts))

    url = get_base_url(account)
    if url is None or not url.startswith(("http://", "https://")):
        report("webhook_no_address", account=account.id)
    shortest, longest = CAPABILITIES.title_limits
    length = CAPABILITIES.count_text(rendered.title.strip())
    if not shortest <= length <= longest:
        report("webhook_title_length", length=str(length), shortest=str(shortest), longest=str(longest))
    length = CAPABILITIES.count_text(rendered.text)
    if length > CAPABILITIES.text_limit:
        report("webhook_text_too_long", length=str(length), limit=str(CAPABILITIES.text_limit))
    if len(rendered.images) > CAPABILITIES.picture_limit:
        report("webhook_too_many_images", count=str(len(rendered.images)), limit=str(CAPABILITIES.picture_limit))
    for picture in rendered.images:
        if picture.media_type not in PICTURE_MEDIA_TYPES:
            report("webhook_image_type", type=picture.media_type)
        if picture.size > MAX_PICTURE_BYTES:
            report("webhook_image_size", megabytes=f"{picture.size / 1024 / 1024:.1f}")
    return tuple(problems)
