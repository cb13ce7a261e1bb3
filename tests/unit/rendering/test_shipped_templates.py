"""Each shipped template with its sample data on each platform."""

import re
import tomllib
from html import unescape

import pytest
from PIL import Image

from publisher.domain.kinds import PostKind
from publisher.domain.post import Marker, WarningLevel
from publisher.rendering.renderer import OriginalPost
from publisher.rendering.templates import shipped_templates
from tests.unit.rendering.rendering_fixtures import (
    AGENCY,
    REGION,
    post_of,
    render_for,
    sample_post,
    traits_of,
)

KINDS = sorted(kind.value for kind in PostKind)
WITH_TIP_LINE = [kind.value for kind in PostKind if kind.traits.names_tip_line]
OF_ANY_TOPIC = [name for name in WITH_TIP_LINE if PostKind(name).traits.topic is None]
PLATFORMS = ["weibo", "wechat", "tieba", "elsewhere"]
ALLOWED = {
    "section",
    "p",
    "span",
    "strong",
    "br",
    "img",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", KINDS)
def test_sample_renders_as_recorded(shipped, snapshot, name, platform):
    """A shipped template with its sample data gives the recorded text."""
    post, original = sample_post(shipped, name)
    rendered = render_for(platform, post, shipped, original=original, region=AGENCY)
    text = rendered.text.replace("\r\n", "\n").replace("><", ">\n<")
    assert (
        f"{rendered.title}\n{rendered.summary}\n{rendered.link}\n\n{text}" == snapshot
    )


def numbers_in(text: str) -> set[str]:
    """Return the telephone numbers and sites that a text names for reports."""
    return set(
        re.findall(
            r"(?<![\d-])"
            r"(?:110|96110|12377|12379|12381|010-55550110|cyberpolice\.mps\.gov\.cn)(?!\d)",
            text,
        )
    )


@pytest.mark.parametrize(
    ("topic", "level", "numbers"),
    [
        ({}, None, {"110", "96110", "12381", "cyberpolice.mps.gov.cn", "12377"}),
        ({"topic": "other"}, None, {"110", "cyberpolice.mps.gov.cn", "12377"}),
        ({"topic": "emergency"}, None, {"110"}),
        ({"topic": "emergency"}, WarningLevel.YELLOW, {"110", "12379"}),
    ],
)
@pytest.mark.parametrize("name", OF_ANY_TOPIC)
def test_each_topic_names_the_numbers_that_serve_it(
    shipped, name, topic, level, numbers
):
    """Each topic names its own numbers.

    12381 and 96110 are for fraud, 12379 for an emergency with a level, and the police's site for
    crimes online.
    """
    post = post_of(
        name, kind=PostKind(name), level=level, data={"summary": "请注意", **topic}
    )
    original = OriginalPost(title="此前的通报", marker=Marker(code="AAAA-2222"))
    for platform in PLATFORMS:
        rendered = render_for(platform, post, shipped, region=AGENCY, original=original)
        assert numbers_in(rendered.text) == (
            numbers & {"110", "96110"} if platform == "weibo" else numbers
        )
        assert rendered.marker.code in rendered.text
        assert platform == "weibo" or "北京市公安局" in rendered.text


@pytest.mark.parametrize("tip_line", ["010-55550110", "12377"])
@pytest.mark.parametrize("name", WITH_TIP_LINE)
def test_a_regions_own_tip_line_is_named(shipped, name, tip_line):
    """A region's own tip line is named in every text."""
    post, original = sample_post(shipped, name)
    for platform in PLATFORMS:
        rendered = render_for(
            platform,
            post,
            shipped,
            original=original,
            region={**REGION, "tip_line": tip_line},
        )
        assert tip_line in numbers_in(rendered.text)


def test_a_level_is_shown_with_its_basis(shipped):
    """The basis of a level stands beside it, where staff gave it."""
    basis = "市气象台发布的道路结冰黄色预警信号"
    post = post_of(
        level=WarningLevel.YELLOW,
        data={"summary": "请注意", "topic": "emergency", "level_basis": basis},
    )
    for platform in ("wechat", "tieba"):
        text = render_for(platform, post, shipped, region=AGENCY).text
        assert text.index("黄色预警") < text.index(f"级别依据：{basis}")


@pytest.mark.parametrize("name", KINDS)
def test_articles_hold_only_what_wechat_keeps(shipped, name):
    """An article has a few harmless tags and inline styles only.

    It has no link, no class, no font and no fixed width.
    """
    post, original = sample_post(shipped, name)
    html = render_for("wechat", post, shipped, original=original).text
    assert set(re.findall(r"<(\w+)", html)) <= ALLOWED
    assert not re.search(
        r"class=|href|font-family|url\(|!important|gradient|position|[;\"]width:\d+px",
        html,
    )
    assert len(html) < 20_000


@pytest.mark.parametrize("name", KINDS)
def test_article_without_picture_has_the_cover(shipped, name):
    """An article without a picture takes the template's cover, with its bytes available."""
    post, original = sample_post(shipped, name)
    (cover,) = render_for("wechat", post, shipped, original=original).images
    assert (cover.width, cover.height, cover.media_type) == (900, 383, "image/png")
    assert cover.alt
    assert len(shipped.cover_bytes(cover.sha256)) == cover.size < 100_000


@pytest.mark.parametrize("name", KINDS)
def test_a_cover_keeps_its_title_in_the_middle_square(name):
    """Lists show the square in the middle of a cover only: all of the white title is inside it."""
    cover = Image.open(shipped_templates() / name / "cover.png").convert("L")
    bounds = cover.point(lambda light: 255 * (light > 215)).getbbox()
    margin = (cover.width - cover.height) // 2
    assert bounds
    assert margin <= bounds[0] < bounds[2] <= cover.width - margin


@pytest.mark.parametrize("name", KINDS)
def test_samples_explain_every_key(shipped, name):
    """A sample has all data of its template, explains every key and states its purpose."""
    sample = shipped.samples[name]
    assert (
        set(sample.needs) <= set(sample.data) <= set(sample.needs) | set(sample.offers)
    )
    assert sample.about
    assert all([*sample.needs.values(), *sample.offers.values()])
    assert set(sample.en) == {"about", *sample.needs, *sample.offers}
    assert (
        sample.explain("about", "en")
        == sample.en["about"]
        != sample.explain("about", "zh_CN")
        == sample.about
    )


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", KINDS)
def test_needed_data_is_enough(shipped, name, platform):
    """A post with the required data, and nothing else, renders everywhere."""
    post, original = sample_post(shipped, name)
    sample = shipped.samples[name]
    bare = {key: value for key, value in sample.data.items() if key in sample.needs}
    short = type(post)(
        **{field: getattr(post, field) for field in post.__dataclass_fields__}
        | {"data": bare, "body": "", "level": None}
    )
    text = render_for(platform, short, shipped, original=original, region=AGENCY).text
    assert "None" not in unescape(text)
    assert len(text) <= traits_of(platform).text_limit


def test_templates_come_with_the_program():
    """The shipped templates are where the program looks for them, each kind with its sample."""
    folder = shipped_templates()
    for name in KINDS:
        assert tomllib.loads((folder / name / "sample.toml").read_text("utf-8"))[
            "about"
        ]
