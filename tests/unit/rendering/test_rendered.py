"""Rules for every rendered post of any template."""

import re
from dataclasses import replace

import pytest

from publisher.domain.errors import TemplateError
from publisher.domain.kinds import PostKind
from publisher.domain.post import Marker, RenderedImage, WarningLevel
from publisher.rendering.markdown import body_html, body_text
from publisher.rendering.renderer import OriginalPost, RenderTarget
from publisher.testing.fakes import TEST_CAPABILITIES
from tests.unit.rendering.rendering_fixtures import (
    AGENCY,
    REGION,
    account_of,
    post_of,
    render,
    render_for,
    sample_post,
)

PICTURES = tuple(
    RenderedImage(
        sha256=f"{number:064x}",
        media_type="image/png",
        size=1,
        width=900,
        height=600,
        alt=f"图{number}",
    )
    for number in range(12)
)


def codes(caught) -> list[str]:
    return [problem.code for problem in caught.value.problems]


def test_same_arguments_give_same_bytes(shipped):
    """Rendering is pure: a preview shows the same fingerprint that will be sent."""
    post, _ = sample_post(shipped, "warning")
    for platform in ("weibo", "wechat", "tieba"):
        first, second = (render_for(platform, post, shipped) for _ in range(2))
        assert first.fingerprint == second.fingerprint


def test_weibo_ends_with_its_link(shipped):
    """A Weibo text ends with a space and the link with the marker, given as `rendered.link`."""
    post, _ = sample_post(shipped, "warning")
    rendered = render_for(
        "weibo", post, shipped, link_template="https://example.gov.cn/n/{marker}"
    )
    assert rendered.link == f"https://example.gov.cn/n/{rendered.marker.code}"
    assert rendered.text.endswith(f" {rendered.link}")


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("https://example.gov.cn/tips", "https://example.gov.cn/tips?n=CODE"),
        ("https://example.gov.cn/tips?a=1", "https://example.gov.cn/tips?a=1&n=CODE"),
        ("https://example.gov.cn/tips#top", "https://example.gov.cn/tips?n=CODE#top"),
        ("https://example.gov.cn/{marker}/x", "https://example.gov.cn/CODE/x"),
    ],
)
def test_region_link_carries_the_marker(shipped, link, expected):
    """Without a link template, the region's page for tips is the link, with the marker in it."""
    rendered = render_for(
        "weibo", post_of(), shipped, region={**REGION, "tip_link": link}
    )
    assert rendered.link == expected.replace("CODE", rendered.marker.code)


def test_own_text_replaces_the_summary(shipped):
    """A text written for one platform appears there and nowhere else."""
    post = post_of(text_by_platform={"weibo": "微博自己的话"})
    assert "微博自己的话。" in render_for("weibo", post, shipped).text
    assert "微博自己的话" not in render_for("tieba", post, shipped).text


def test_tieba_lines_end_as_its_editor_ends_them(shipped):
    """Every line of a Tieba text ends in CR LF; a Weibo text has no carriage return."""
    text = render_for("tieba", post_of(body="一\n二"), shipped).text
    assert "\r\n" in text
    assert "\n" not in text.replace("\r\n", "")
    assert "\r" not in render_for("weibo", post_of(), shipped).text


@pytest.mark.parametrize("template", list(PostKind))
def test_a_platform_without_titles_shows_the_title_in_the_text(shipped, template):
    """The default page prints a title in the second line, below the marker, if needed.

    It stays out where the platform has a title.
    """
    post, original = sample_post(shipped, template)
    post = replace(post, title="警惕退款客服")
    texts = []
    for title_limits in ((0, 0), (1, 64)):
        target = RenderTarget(
            account=account_of("city"),
            region=REGION,
            pictures=(),
            capabilities=replace(TEST_CAPABILITIES, title_limits=title_limits),
            original=original,
        )
        texts.append(render(post, target, shipped).text)
    assert texts[0].splitlines()[1:3].count("【警惕退款客服】") == 1
    assert "警惕退款客服" not in texts[1]
    assert texts[0].replace("【警惕退款客服】\n", "") == texts[1]


def test_times_are_in_the_workspace_zone(shipped):
    """01:00 UTC is written as nine o'clock in Shanghai."""
    assert "2027年1月5日 09:00" in render_for("tieba", post_of(), shipped).text


def test_pictures_follow_the_platform(shipped):
    """Weibo takes the first picture, Tieba nine, an article all of them.

    The article has the first picture as its cover.
    """
    chosen = {
        name: render_for(name, post_of(), shipped, pictures=PICTURES)
        for name in ("weibo", "tieba", "wechat")
    }
    assert chosen["weibo"].images == PICTURES[:1]
    assert chosen["tieba"].images == PICTURES[:9]
    assert chosen["wechat"].images == PICTURES
    assert all(
        f'src="media:{picture.sha256}" alt="{picture.alt}"' in chosen["wechat"].text
        for picture in PICTURES
    )


def test_article_has_a_digest(shipped):
    """An article's digest is its summary; other platforms have none."""
    assert render_for("wechat", post_of(), shipped).summary == "正规退款原路退回"
    assert render_for("tieba", post_of(), shipped).summary == ""


@pytest.mark.parametrize("level", list(WarningLevel))
def test_level_sets_the_colour_of_the_band(shipped, level):
    """Each level has a colour of its own."""
    bands = {
        render_for("wechat", post_of(level=each), shipped).text.split(
            "background-color:"
        )[1][:7]
        for each in WarningLevel
    }
    band = render_for("wechat", post_of(level=level), shipped).text.split(
        "background-color:"
    )[1][:7]
    assert len(bands) == len(WarningLevel)
    assert band in bands


def test_text_of_staff_is_never_markup(shipped):
    """Angle brackets in title, data, body and alternative texts stay text in an article."""
    evil = '<script>alert(1)</script><a href="https://evil.example">x</a><img src=x onerror=y>'
    picture = replace(PICTURES[0], alt='"><script>')
    post = post_of(title=evil, body=evil, data={"summary": evil, "advice": [evil]})
    html = render_for("wechat", post, shipped, pictures=[picture]).text
    assert "<script" not in html
    assert "<a" not in html
    assert html.count("<img") == 1
    assert "&lt;script&gt;alert(1)" in html


def test_templates_markup_is_cleaned(written):
    """A workspace's own article keeps no script, link, form, outside picture or floating layer."""
    page = (
        '<p style="position:fixed;color:red;background:url(https://evil.example)" onclick="x">'
        "{{ marker }} 12377</p>"
        '<script>x</script><a href="https://evil.example">去</a>'
        '<img src="https://evil.example/a.png"><form><input></form>'
    )
    html = render_for("wechat", post_of("own"), written({"own/wechat.html": page})).text
    marker = render_for(
        "wechat", post_of("own"), written({"own/wechat.html": page})
    ).marker.code
    assert html == f'<p style="color:red">{marker} 12377</p>去<img>'


HOSTILE = """
@import url("https://evil.example/a.css");
@font-face { font-family: x; src: url(https://evil.example/x.woff) }
@media screen { p { background-image: url(https://evil.example/b.png) } }
p { position: fixed; top: 0; z-index: 9; behavior: url(#x); \
-moz-binding: url(https://evil.example/x.xml#y) }
p { background: url(https://evil.example/c.png); border: 1px solid; \
list-style: url(https://evil.example/d.png) }
p { color: red; text-align: center" onclick="evil(); width: expression(evil()) }
p::after { content: "evil"; } p { font-family: "</p><script>evil()</script>" }
p { color: url(javascript:evil()); margin: calc(1px + var(--evil)); \
text-indent: url("https://evil.example/e") }
</style><script>evil()</script>
"""


def test_a_hostile_stylesheet_does_no_harm(written):
    """A hostile stylesheet keeps only plain properties.

    It makes no element, attribute or text, loads nothing, and covers nothing of the page.
    """
    files = {
        "own/wechat.html": "<p>{{ marker }} 12377</p>",
        "_shared/article.css": HOSTILE,
    }
    rendered = render_for("wechat", post_of("own"), written(files))
    found = re.fullmatch(r'<p style="([^"<>]*)">([^<>]*)</p>', rendered.text)
    assert found
    assert found[2] == f"{rendered.marker.code} 12377"
    for mark in (
        "url(",
        "://",
        "javascript:",
        "position",
        "z-index",
        "behavior",
        "binding",
        "content",
    ):
        assert mark not in found[1].lower()
    assert "border:1px solid" in found[1]


@pytest.mark.parametrize(
    ("markdown", "html", "text"),
    [
        ("**重**要", "<strong>重</strong>要", "重要"),
        ("## 标题\n\n正文", "标题", "【标题】\n正文"),
        ("- 甲\n- 乙", "• 甲", "• 甲\n• 乙"),
        ("3. 甲\n4. 乙", "3. 甲", "3. 甲\n4. 乙"),
        ("- 外\n  - 内", "• 内", "• 外\n• 内"),
        ("一\n二", "一<br>二", "一\n二"),
        ("一\n\n二", "二", "一\n\n二"),
        (
            "[网站](https://12377.cn/)",
            "网站（https://12377.cn/）",
            "网站（https://12377.cn/）",
        ),
        ("<https://12377.cn/>", "https://12377.cn/", "https://12377.cn/"),
        ("`a<b`", "a&lt;b", "a<b"),
        ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt;", "<b>x</b>"),
        ("| 甲 | 乙 |\n|--|--|\n| 1 | 2 |", "<td>2</td>", "甲　乙\n1　2"),
        ("> 引", "<section><p>引</p></section>", "引"),
        ("", "", ""),
    ],
)
def test_markdown_is_rendered_twice(markdown, html, text):
    """A body reads the same as an article and as plain text; links are written out."""
    assert html in body_html(markdown, "")
    assert body_text(markdown) == text


def test_body_is_rendered_once():
    """Fifty accounts share one rendering of the same body."""
    assert body_html("同一段**正文**", "p {color: red}") is body_html(
        "同一段**正文**", "p {color: red}"
    )


def test_text_without_marker_is_refused(written):
    """A text without its number in the first sixty characters is refused."""
    templates = written(
        {
            "late/weibo.txt": "{{ '长' }}" * 61 + "{{ marker }} 12377",
            "none/weibo.txt": "12377",
        }
    )
    for name, code in (
        ("late", "rendered_marker_too_late"),
        ("none", "rendered_without_marker"),
    ):
        with pytest.raises(TemplateError) as caught:
            render_for("weibo", post_of(name), templates)
        assert codes(caught) == [code]
        (problem,) = caught.value.problems
        assert (
            problem.facts["key"] == "title"
            if name == "late"
            else problem.location.file.endswith("none/weibo.txt")
        )
        assert (problem.facts["post"], problem.facts["account"]) == (
            "refund",
            "beijing-weibo",
        )


def test_article_needs_the_marker_to_be_seen_and_linked(written):
    """An article with its number only in a picture's text, or without any link, is refused."""
    templates = written(
        {"own/wechat.html": '<img src="media:1" alt="{{ marker }}"><p>12377</p>'}
    )
    with pytest.raises(TemplateError) as caught:
        render_for(
            "wechat",
            post_of("own"),
            templates,
            region={"name": "北京", "police": "北京市公安局", "tip_line": "12377"},
        )
    assert codes(caught) == ["rendered_without_marker", "rendered_without_marked_link"]


def test_text_without_tip_line_is_refused(written, shipped):
    """A text without the region's tip line is refused.

    A region without a tip line, or without police, is refused as well.
    """
    with pytest.raises(TemplateError) as caught:
        render_for(
            "weibo", post_of("own"), written({"own/weibo.txt": "{{ marker }} 报警110"})
        )
    assert codes(caught) == ["rendered_without_tip_line"]
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", post_of(), shipped, region={})
    assert codes(caught) == ["region_without_tip_line", "region_without_police"]


def test_a_correction_needs_no_tip_line(shipped):
    """A correction states the right facts, and carries no list of numbers to call."""
    post, original = sample_post(shipped, "correction")
    for platform in ("weibo", "wechat", "tieba"):
        text = render_for(
            platform, post, shipped, original=original, region=AGENCY
        ).text.replace("紧急情况请拨打110", "")
        assert not re.search(r"110|96110|12377", text)
        assert text.index(post.data["right"]) < text.index(post.data["wrong"])


def test_text_with_the_originals_marker_is_refused(written):
    """A follow-up with the number of the earlier post is refused.

    It could be mistaken for that post.
    """
    templates = written({"own/weibo.txt": "{{ marker }} 12377 {{ words }}"})
    original = OriginalPost(title="原通报", marker=Marker(code="AAAA-2222"))
    with pytest.raises(TemplateError) as caught:
        render_for(
            "weibo",
            post_of("own", text_by_platform={"weibo": "接aaaa2222号"}),
            templates,
            original=original,
        )
    assert codes(caught) == ["rendered_with_foreign_marker"]
