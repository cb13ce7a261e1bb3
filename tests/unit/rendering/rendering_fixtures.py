"""Accounts, posts and platforms to render for; everything is rendered in this process."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from adapters.weibo.capabilities import measure
from publisher.domain.account import (
    Account,
    AccountId,
    Capabilities,
    Platform,
    RegionCode,
)
from publisher.domain.errors import InputError, Problem, TemplateError
from publisher.domain.kinds import PostKind
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    Marker,
    Post,
    RenderedImage,
    RenderedPost,
    WarningLevel,
    make_occurrence,
)
from publisher.rendering import images
from publisher.rendering.child import RenderWorker
from publisher.rendering.renderer import (
    OriginalPost,
    RenderRequest,
    RenderTarget,
    compose,
)
from publisher.rendering.templates import Templates
from publisher.testing.builders import make_post
from publisher.testing.fakes import TEST_CAPABILITIES

REGION = {
    "name": "北京",
    "police": "北京市公安局",
    "hotline": "110",
    "tip_line": "12377",
    "tip_link": "https://example.gov.cn/tips/beijing",
}
AGENCY = {**REGION, "tip_line": "110"}
"""A region that takes tips by the police's own number, as the demo's do."""
DUE = datetime(2027, 1, 5, 1, tzinfo=UTC)


def traits_of(platform: str) -> Capabilities:
    return replace(
        TEST_CAPABILITIES,
        count_text=measure if platform == "weibo" else len,
        text_limit={"weibo": 140, "tieba": 2000}.get(platform, 20_000),
        picture_limit={"weibo": 1, "tieba": 9}.get(platform, 10),
        is_article=platform == "wechat",
        max_extra_parts=4 if platform == "tieba" else 0,
        line_ending="\r\n" if platform == "tieba" else "\n",
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
    post = make_post("refund", (), DUE, title="警惕“退款客服”诈骗")
    data = {"summary": "正规退款原路退回"}
    return replace(
        post,
        **{"template": template, "level": WarningLevel.ORANGE, "data": data, **changes},
    )


def render_for(
    platform: str,
    post: Post,
    templates: Templates,
    *,
    region: Mapping[str, str] = REGION,
    pictures: Sequence[RenderedImage] = (),
    original: OriginalPost | None = None,
    **account: object,
) -> RenderedPost:
    target = RenderTarget(
        account=account_of(platform, **account),
        region=region,
        pictures=pictures,
        capabilities=traits_of(platform),
        original=original,
    )
    return render(post, target, templates)


def render(post: Post, target: RenderTarget, templates: Templates) -> RenderedPost:
    """Render a post for one account. Raises TemplateError."""
    occurrence = make_occurrence(post, ONCE_OCCURRENCE, DUE)
    request = RenderRequest(post=post, occurrence=occurrence, targets=[target])
    [(_body, [found])] = compose([request], templates, ZoneInfo("Asia/Shanghai"))
    if isinstance(found, TemplateError):
        raise found
    return found


def read_picture(
    path: Path, alt: str, *, below: Path | None = None
) -> tuple[RenderedImage, bytes]:
    """Read one picture. Raises InputError."""
    file = images.PictureFile(path=path, alt=alt, trusted_root=below or path.parent)
    found = images.read_picture(file, RenderWorker())
    if isinstance(found, Problem):
        raise InputError([found])
    return found


def kind_of(templates: Templates, name: str) -> PostKind:
    """Return the kind of a template's posts: of its own name, or the first that it is for."""
    known = frozenset(PostKind)
    return PostKind(name if name in known else templates.samples[name].kinds[0])


def sample_post(templates: Templates, name: str) -> tuple[Post, OriginalPost | None]:
    """Return the post of a template's sample.toml, and the one it follows."""
    sample = templates.samples[name].move_days(DUE.date())
    level = WarningLevel(sample.level) if sample.level else None
    post = post_of(
        name,
        kind=kind_of(templates, name),
        expires_at=DUE + timedelta(days=30),
        title=sample.title,
        level=level,
        body=sample.body,
        data=sample.data,
    )
    original = (
        OriginalPost(title=sample.original, marker=Marker(code="AAAA-2222"))
        if sample.original
        else None
    )
    return post, original
