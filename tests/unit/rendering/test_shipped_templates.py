"""Each shipped template with its sample data on each platform."""

import re
import tomllib
from html import unescape

import pytest

from publisher.domain.post import PostKind
from publisher.rendering.templates import shipped_templates
from tests.unit.rendering.rendering_fixtures import REGION, render_for, sample_post, traits_of

KINDS = sorted(kind.value for kind in PostKind)
PLATFORMS = ["weibo", "wechat", "tieba", "elsewhere"]
ALLOWED = {"section", "p", "span", "strong", "br", "img", "table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", KINDS)
def test_sample_renders_as_recorded(shipped, snapshot, name, platform):
    """A shipped template with its sample data gives the recorded text."""
    post, original = sample_post(shipped, name)
    rendered = render_for(platform, post, shipped, original=original)
    text = rendered.text.replace("\r\n", "\n").replace("><", ">\n<")
    assert f"{rendered.title}\n{rendered.summary}\n{rendered.link}\n\n{text}" == snapshot


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", KINDS)
def test_every_text_says_how_to_report(shipped, name, platform):
    """Every text names the police, the tip line and its own number."""
    post, original = sample_post(shipped, name)
    rendered = render_for(platform, post, shipped, original=original)
    assert all(word in rendered.text for word in ("110", "96110", "12377", rendered.marker.code))


@pytest.mark.parametrize("name", KINDS)
def test_a_regions_own_tip_line_is_named(shipped, name):
    """A region's own tip line is named beside the national one, in the long texts."""
    post, original = sample_post(shipped, name)
    region = {**REGION, "tip_line": "010-55550110", "police": "北京市公安局"}
    for platform in PLATFORMS:
        rendered = render_for(platform, post, shipped, original=original, region=region)
        assert "010-55550110" in rendered.text
        assert platform == "weibo" or "12377" in rendered.text


@pytest.mark.parametrize("name", KINDS)
def test_articles_hold_only_what_wechat_keeps(shipped, name):
    """An article has a few harmless tags, inline styles, no link, no class, no font and no fixed width."""
    post, original = sample_post(shipped, name)
    html = render_for("wechat", post, shipped, original=original).text
    assert set(re.findall(r"<(\w+)", html)) <= ALLOWED
    assert not re.search(r"class=|href|font-family|url\(|!important|gradient|position|[;\"]width:\d+px", html)
    assert len(html) < 20_000


@pytest.mark.parametrize("name", KINDS)
def test_article_without_picture_has_the_cover(shipped, name):
    """An article whose post has no picture takes the template's cover, whose bytes are available."""
    post, original = sample_post(shipped, name)
    (cover,) = render_for("wechat", post, shipped, original=original).images
    assert (cover.width, cover.height, cover.media_type) == (900, 383, "image/png")
    assert cover.alt
    assert len(shipped.cover_bytes(cover.sha256)) == cover.size < 100_000


@pytest.mark.parametrize("name", KINDS)
def test_samples_explain_every_key(shipped, name):
    """A sample has all the data its template needs, uses no key it does not explain, and states its purpose."""
    sample = shipped.samples[name]
    assert set(sample.needs) <= set(sample.data) <= set(sample.needs) | set(sample.offers)
    assert sample.about
    assert all([*sample.needs.values(), *sample.offers.values()])


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
    text = render_for(platform, short, shipped, original=original).text
    assert "None" not in unescape(text)
    assert len(text) <= traits_of(platform).text_limit


def test_templates_come_with_the_program():
    """The shipped templates are where the program looks for them, each kind with its sample."""
    folder = shipped_templates()
    for name in KINDS:
        assert tomllib.loads((folder / name / "sample.toml").read_text("utf-8"))["about"]
