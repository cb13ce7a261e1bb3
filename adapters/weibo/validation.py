"""Weibo's refusals and changes of a rendered post. Pure."""

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from publisher.domain.account import Account, Mode
from publisher.domain.errors import Problem, Severity
from publisher.domain.post import RenderedPost

from .capabilities import (
    MAX_LEAD_LENGTH,
    MAX_PICTURE_BYTES,
    MAX_TITLE_LENGTH,
    PROFILES,
    get_article_cover_url,
    get_capabilities,
    get_profile,
    is_article,
    render_lead,
)

PICTURE_MEDIA_TYPES = frozenset({"image/jpeg", "image/png", "image/gif"})
_TOPIC = re.compile(r"#[^#\n]+#")
_LINK = re.compile(r"https?://\S+")


def find_account_problems(account: Account) -> Sequence[Problem]:
    """Return the problems of an account's profile, and the settings missing for its calls.

    The profile permits these calls. Weibo requires the public IPv4 address of the poster (`rip`). A
    drill or a gateway has its own `base_url`.
    """
    problems = (
        [Problem(code="key_not_used", facts={"key": "forum"})] if account.forum else []
    )
    # a simulator or a gateway may name its accounts otherwise
    if account.base_url is None and not is_uid(account.identity):
        facts = {"key": "identity", "value": account.identity}
        problems.append(Problem(code="weibo_identity_no_uid", facts=facts))
    if account.profile not in {None, *PROFILES}:
        facts = {
            "key": "profile",
            "value": account.profile or "",
            "choices": ", ".join(PROFILES),
        }
        return [*problems, Problem(code="weibo_profile_unknown", facts=facts)]
    if account.mode is not Mode.API:
        return problems
    if get_profile(account).is_strict and account.link_template is None:
        problems.append(
            Problem(code="weibo_link_template_missing", facts={"key": "link_template"})
        )
    if account.base_url is None and account.public_ip is None:
        problems.append(
            Problem(
                code="weibo_public_ip_missing",
                severity=Severity.WARNING,
                facts={"key": "public_ip"},
            )
        )
    elif account.base_url is None and not is_public_ipv4(account.public_ip or ""):
        facts = {"key": "public_ip", "value": account.public_ip or ""}
        problems.append(Problem(code="weibo_ip_not_public", facts=facts))
    return problems


def is_uid(identity: str) -> bool:
    """True if an identity is a Weibo uid: a number, as every response of the API names it."""
    return identity.isascii() and identity.isdigit()


def find_problems(account: Account, rendered: RenderedPost) -> Sequence[Problem]:
    """Return all that the account's calls refuse: length, link, pictures, articles.

    The source is wiki 2/statuses/share.
    """
    return (
        *find_text_problems(account, rendered),
        *find_link_problems(account, rendered),
        *find_picture_problems(account, rendered),
        *(
            find_article_problems(account, rendered)
            if is_article(account, rendered)
            else ()
        ),
    )


def find_text_problems(account: Account, rendered: RenderedPost) -> Iterator[Problem]:
    """Yield the problems of the text: its length, and a topic that Weibo drops."""
    capabilities = get_capabilities(account)
    length = capabilities.count_text(rendered.text)
    if length > capabilities.text_limit:
        yield make_problem(
            "weibo_text_too_long",
            length=str(length),
            limit=str(capabilities.text_limit),
        )
    topic = _TOPIC.search(_LINK.sub("", rendered.text))
    if topic and get_profile(account).is_strict:
        yield make_problem(
            "weibo_hashtag_dropped", Severity.WARNING, topic=topic.group()
        )


def find_link_problems(account: Account, rendered: RenderedPost) -> Iterator[Problem]:
    """Yield the problems of the link.

    By hand, people may post with any link, or without one.
    """
    link = rendered.link or ""
    is_strict = get_profile(account).is_strict
    is_by_api = account.mode is not Mode.ASSISTED
    if not link or link not in rendered.text:
        if is_strict and is_by_api:
            yield make_problem("weibo_no_link_template", link=link)
        return
    if not link.isascii():
        yield make_problem("weibo_link_not_ascii", link=link)
    if (
        is_strict
        and account.link_template
        and _get_host(link) != _get_host(account.link_template)
    ):
        yield make_problem(
            "weibo_link_elsewhere", link=link, host=_get_host(account.link_template)
        )
    after = rendered.text.split(link, 1)[1][:1]
    if after and not after.isspace() and is_by_api:
        yield make_problem("weibo_link_not_apart", link=link, next=after)


def find_picture_problems(
    account: Account, rendered: RenderedPost
) -> Iterator[Problem]:
    """Yield the problems of the number, types and sizes of the pictures.

    An article has none.
    """
    limit = (
        0 if is_article(account, rendered) else get_capabilities(account).picture_limit
    )
    if len(rendered.images) > limit:
        yield make_problem(
            "weibo_too_many_images", count=str(len(rendered.images)), limit=str(limit)
        )
    for picture in rendered.images:
        if picture.media_type not in PICTURE_MEDIA_TYPES:
            yield make_problem("weibo_image_type", type=picture.media_type)
        if picture.size > MAX_PICTURE_BYTES:
            yield make_problem(
                "weibo_image_size", megabytes=f"{picture.size / 1024 / 1024:.1f}"
            )


def find_article_problems(
    account: Account, rendered: RenderedPost
) -> Iterator[Problem]:
    """Yield the problems of an article's title, lead and cover."""
    if not 0 < len(rendered.title) <= MAX_TITLE_LENGTH:
        yield make_problem(
            "weibo_title_length",
            length=str(len(rendered.title)),
            limit=str(MAX_TITLE_LENGTH),
        )
    if len(render_lead(rendered)) > MAX_LEAD_LENGTH:
        yield make_problem("weibo_lead_too_long", limit=str(MAX_LEAD_LENGTH))
    if not _get_host(get_article_cover_url(account) or ""):
        yield make_problem("weibo_article_image", account=account.id)


def make_problem(
    code: str, severity: Severity = Severity.ERROR, **facts: str
) -> Problem:
    return Problem(code=code, severity=severity, facts=facts)


def is_public_ipv4(address: str) -> bool:
    try:
        return ip_address(address).version == 4 and ip_address(address).is_global
    except ValueError:
        return False


def _get_host(link: str) -> str:
    """Return a link's host as written: `www.` may make it a different one."""
    try:
        return urlsplit(link).hostname or ""
    except ValueError:
        return ""
