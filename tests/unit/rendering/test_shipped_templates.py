"""Each shipped template with its sample data on each platform."""

import re
import tomllib
from html import unescape

import pytest
from PIL import Image

from adapters.weibo.capabilities import measure
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

FOLDER = shipped_templates()
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/sample.toml"))
COVERS = sorted(path.parent.name for path in FOLDER.glob("*/cover.png"))
OF_ANY_TOPIC = ["bulletin", "update", "warning"]
WITH_TIP_LINE = sorted({*NAMES} - {"correction", "notice", "service"})
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
@pytest.mark.parametrize("name", NAMES)
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
            r"(?:110|96110|12377|12379|12381|12389|010-55550110|cyberpolice\.mps\.gov\.cn)(?!\d)",
            text,
        )
    )


@pytest.mark.parametrize(
    ("topic", "level", "numbers"),
    [
        ({}, None, {"110", "96110", "12381"}),
        ({"topic": "other"}, None, {"110", "cyberpolice.mps.gov.cn"}),
        ({"topic": "netcrime"}, None, {"110", "cyberpolice.mps.gov.cn", "12377"}),
        ({"topic": "emergency"}, None, {"110"}),
        ({"topic": "emergency"}, WarningLevel.YELLOW, {"110", "12379"}),
    ],
)
@pytest.mark.parametrize("name", OF_ANY_TOPIC)
def test_each_topic_names_the_numbers_that_serve_it(
    shipped, name, topic, level, numbers
):
    """Each topic names its own numbers.

    12381 and 96110 are for fraud, 12379 for an emergency with a level, the police's site for
    crimes, and 12377 for harmful content online.
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


@pytest.mark.parametrize("name", NAMES)
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


@pytest.mark.parametrize("name", NAMES)
def test_article_without_picture_has_the_cover(shipped, name):
    """An article without a picture takes the template's cover, with its bytes available."""
    post, original = sample_post(shipped, name)
    (cover,) = render_for("wechat", post, shipped, original=original).images
    assert (cover.width, cover.height, cover.media_type) == (900, 383, "image/png")
    assert cover.alt
    assert len(shipped.cover_bytes(cover.sha256)) == cover.size < 100_000


@pytest.mark.parametrize("name", COVERS)
def test_a_cover_keeps_its_title_in_the_middle_square(name):
    """Lists show the square in the middle of a cover only: all of the white title is inside it."""
    cover = Image.open(shipped_templates() / name / "cover.png").convert("L")
    bounds = cover.point(lambda light: 255 * (light > 215)).getbbox()
    margin = (cover.width - cover.height) // 2
    assert bounds
    assert margin <= bounds[0] < bounds[2] <= cover.width - margin


@pytest.mark.parametrize("name", NAMES)
def test_samples_explain_every_key(shipped, name):
    """A sample has all data of its template, explains every key and states its purpose."""
    sample = shipped.samples[name]
    assert set(sample.needs) <= set(sample.data) <= {*sample.needs, *sample.offers}
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
@pytest.mark.parametrize("name", NAMES)
def test_needed_data_is_enough(shipped, name, platform):
    """A post with the required data, and nothing else, renders everywhere."""
    post, original = sample_post(shipped, name)
    sample = shipped.samples[name]
    needed = {*sample.needs, *({"saved"} if name == "case" else ())}
    bare = {key: value for key, value in post.data.items() if key in needed}
    short = type(post)(
        **{field: getattr(post, field) for field in post.__dataclass_fields__}
        | {"data": bare, "body": "", "level": None}
    )
    text = render_for(platform, short, shipped, original=original, region=AGENCY).text
    assert "None" not in unescape(text)
    assert traits_of(platform).count_text(text) <= traits_of(platform).text_limit


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_fits_into_a_short_post_with_its_link(shipped, name):
    """Every sample, with its link, is within 130 characters by the platform's own counter.

    Its number is among the first 60 characters, where lists show it.
    """
    post, original = sample_post(shipped, name)
    link = "https://fb.example.gov.cn/v/{marker}.html"
    region = {**AGENCY, "name": "示例市", "police": "示例市公安局"}
    rendered = render_for(
        "weibo", post, shipped, original=original, region=region, link_template=link
    )
    assert rendered.link
    assert rendered.text.endswith(f" {rendered.link}")
    assert measure(rendered.text) <= 130
    assert rendered.text.index(f"（编号{rendered.marker.code}）") < 48


def test_templates_come_with_the_program():
    """The shipped templates are where the program looks for them, each kind with its sample."""
    folder = shipped_templates()
    for name in NAMES:
        assert tomllib.loads((folder / name / "sample.toml").read_text("utf-8"))[
            "about"
        ]
