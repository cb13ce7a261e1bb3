"""A platform that no template knows gets the plain page."""

from dataclasses import replace

import pytest

from publisher.rendering.markdown import visible_text
from publisher.rendering.renderer import RenderTarget
from publisher.rendering.templates import shipped_templates
from tests.unit.rendering.rendering_fixtures import (
    REGION,
    account_of,
    post_of,
    render,
    render_for,
    sample_post,
    traits_of,
)

TEMPLATES = sorted(
    path.parent.name for path in shipped_templates().glob("*/sample.toml")
)


def article_for(post, templates, original=None):
    target = RenderTarget(
        account=account_of("site"),
        region=REGION,
        pictures=(),
        capabilities=replace(traits_of("site"), is_article=True),
        original=original,
    )
    return render(post, target, templates)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_has_plain_text_for_it(shipped, name):
    """Each shipped template renders as plain text for an unknown platform.

    The text has its link and plain line ends.
    """
    post, original = sample_post(shipped, name)
    rendered = render_for("site", post, shipped, original=original)
    assert rendered.marker.is_in(rendered.text[:60])
    assert rendered.link is not None
    assert rendered.link in rendered.text
    assert "\r" not in rendered.text
    assert "<" not in rendered.text


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_has_an_article_for_it(shipped, name):
    """A platform with articles gets the shared article.

    It has the number, the link to check it by, a summary, a cover and a marked link.
    """
    post, original = sample_post(shipped, name)
    plain = render_for("site", post, shipped, original=original)
    article = article_for(post, shipped, original)
    assert article.text.startswith("<section")
    assert article.marker.is_in(visible_text(article.text))
    assert f"核验：{article.link}" in visible_text(article.text)
    assert article.link == plain.link
    assert article.summary
    assert [picture.sha256 for picture in article.images] == [
        shipped.cover(name).sha256
    ]


def test_lines_end_as_the_platform_writes_them(shipped):
    """The adapter's capabilities decide on line ends, under any name of the platform."""
    post = sample_post(shipped, "warning")[0]
    target = RenderTarget(
        account=account_of("site"),
        region=REGION,
        pictures=(),
        capabilities=replace(traits_of("site"), line_ending="\r\n"),
    )
    rendered = render(post, target, shipped)
    assert rendered.text == render_for("site", post, shipped).text.replace("\n", "\r\n")


def test_text_is_never_taken_for_markup(shipped):
    """HTML in the text of staff is shown as text, not interpreted."""
    post = post_of(data={"summary": "汇款<b>1</b> & 余额<script>x</script>"})
    article = article_for(post, shipped)
    assert "&lt;script&gt;x&lt;/script&gt;" in article.text
    assert "&amp; 余额" in article.text
    assert "<b>" not in article.text
