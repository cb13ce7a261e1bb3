"""Content that a receiver need not accept. Pure."""

from collections.abc import Sequence

from publisher.domain.account import Account
from publisher.domain.errors import Problem
from publisher.domain.post import RenderedPost

from .capabilities import CAPABILITIES, get_base_url

PICTURE_MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
MAX_PICTURE_BYTES = 5 * 1024 * 1024


def find_account_problems(account: Account) -> Sequence[Problem]:
    """Return the problems of an account's settings.

    Without an address nothing can be called.
    """
    problems = (
        [Problem(code="key_not_used", facts={"key": "forum"})] if account.forum else []
    )
    url = get_base_url(account)
    if url is None or not url.startswith(("http://", "https://")):
        problems.append(
            Problem(
                code="webhook_no_address",
                facts={"key": "options.url", "account": account.id},
            )
        )
    return problems


def find_problems(_account: Account, rendered: RenderedPost) -> Sequence[Problem]:
    problems: list[Problem] = []

    def report(code: str, **facts: str) -> None:
        problems.append(Problem(code=code, facts=facts))

    shortest, longest = CAPABILITIES.title_limits
    length = CAPABILITIES.count_text(rendered.title.strip())
    if not shortest <= length <= longest:
        report(
            "webhook_title_length",
            length=str(length),
            shortest=str(shortest),
            longest=str(longest),
        )
    length = CAPABILITIES.count_text(rendered.text)
    if length > CAPABILITIES.text_limit:
        report(
            "webhook_text_too_long",
            length=str(length),
            limit=str(CAPABILITIES.text_limit),
        )
    if len(rendered.images) > CAPABILITIES.picture_limit:
        report(
            "webhook_too_many_images",
            count=str(len(rendered.images)),
            limit=str(CAPABILITIES.picture_limit),
        )
    for picture in rendered.images:
        if picture.media_type not in PICTURE_MEDIA_TYPES:
            report("webhook_image_type", type=picture.media_type)
        if picture.size > MAX_PICTURE_BYTES:
            report("webhook_image_size", megabytes=f"{picture.size / 1024 / 1024:.1f}")
    return tuple(problems)
