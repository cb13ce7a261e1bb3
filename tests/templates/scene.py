"""Accounts, posts and platforms to render for; everything is rendered in this very process."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from publisher.domain.account import Account, AccountId, Platform, RegionCode, Traits
from publisher.domain.errors import InputError, TemplateError
from publisher.domain.post import ONCE, At, Kind, Level, Post, PostId, occurrence_of
from publisher.domain.problem import Problem
from publisher.domain.rendition import Marker, Picture, Rendition
from publisher.rendering import Templates
from publisher.rendering.composing import Order, Original, compose
from publisher.rendering.pictures import PictureFile, read_pictures
from publisher.rendering.worker import Worker

REGION = {"name": "北京", "hotline": "110", "tip_line": "12377", "tip_link": "https://example.gov.cn/tips/beijing"}
DUE = datetime(2027, 1, 5, 1, tzinfo=UTC)


def traits_of(platform: str) -> Traits:
    return Traits(
        measure=len,
        text_limit={"weibo": 140, "tieba": 2000}.get(platform, 20_000),
        title_limits=(1, 64),
        picture_limit={"weibo": 1, "tieba": 9}.get(platform, 10),
        server_delay=timedelta(),
        listing_lag=timedelta(),
        readable=None,
        may_resend=False,
        is_article=platform == "wechat",
        most_floors=4 if platform == "tieba" else 0,
    )


def account_of(platform: str, **changes: object) -> Account:
    account = Account(
        id=AccountId(f"beijing-{platform}"),
        platform=Platform(platform),
        identity="1404376560",
        secret=f"{platform}-beijing",
        region=RegionCode("110000"),
    )
    return replace(account, **changes)


def post_of(template: str = "warning", **changes: object) -> Post:
    post = Post(
        id=PostId("refund"),
        kind=Kind.WARNING,
        template=template,
        author="zhang",
        title="警惕“退款客服”诈骗",
        timing=At(when=None),
        accounts=(),
        definition="",
        level=Level.ORANGE,
        data={"summary": "正规退款原路退回"},
    )
    return replace(post, **changes)


def render_for(
    platform: str,
    post: Post,
    templates: Templates,
    *,
    region: Mapping[str, str] = REGION,
    pictures: Sequence[Picture] = (),
    original: Original | None = None,
    **account: object,
) -> Rendition:
    order = Order(
        account=account_of(platform, **account),
        region=region,
        pictures=pictures,
        traits=traits_of(platform),
        original=original,
    )
    return render(post, order, templates)


def render(post: Post, order: Order, templates: Templates) -> Rendition:
    """Render a post for one account. Raises TemplateError."""
    occurrence = occurrence_of(post, ONCE, DUE)
    (found,) = compose(post, occurrence, [order], templates, ZoneInfo("Asia/Shanghai")).renditions
    if isinstance(found, TemplateError):
        raise found
    return found


def read_picture(path: Path, alt: str, *, below: Path | None = None) -> tuple[Picture, bytes]:
    """Read one picture. Raises InputError."""
    (found,) = read_pictures([PictureFile(path=path, alt=alt, below=below or path.parent)], Worker())
    if isinstance(found, Problem):
        raise InputError([found])
    return found


def sample_post(templates: Templates, name: str) -> tuple[Post, Original | None]:
    """Give the post of a template's sample.toml, and the one it follows."""
    sample = templates.samples[name]
    level = Level(sample.level) if sample.level else None
    post = post_of(name, kind=Kind(name), title=sample.title, level=level, body=sample.body, data=sample.data)
    original = Original(title=sample.original, marker=Marker(code="AAAA-2222")) if sample.original else None
    return post, original
