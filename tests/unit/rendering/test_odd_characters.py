"""Invisible characters get neither into a template nor through one into a final text (F74)."""

import pytest

from publisher.domain.errors import TemplateError
from publisher.rendering.templates import shipped_templates
from tests.unit.rendering.rendering_fixtures import (
    REGION,
    post_of,
    read_picture,
    render_for,
)

PAGE = "【{{ marker }}】{{ post.title }} {{ region.tip_line }} {{ body_text }} {{ data.summary }}"


def refusal(*arguments, **named):
    with pytest.raises(TemplateError) as caught:
        render_for(*arguments, **named)
    return caught.value.problems


@pytest.mark.parametrize("odd", ["\u202e", "\u200b", "\x1b", "\U000e0041"], ids=ascii)
def test_f74_a_template_file_with_invisible_characters_is_refused_at_its_place(
    written, odd
):
    """F74: pages, the stylesheet and the sample alike, each with line and column."""
    templates = written({
        "own/default.txt": f"{PAGE}\n1{odd}10",
        "own/sample.toml": f'about = "1{odd}"',
        "_shared/article.css": f"p {{ color: red }}\n{odd}",
    })  # fmt: skip
    assert {
        (each.code, each.location.line, each.location.column)
        for each in templates.problems
    } == {
        ("invisible_character", 2, 2),
        ("invisible_character", 1, 11),
        ("invisible_character", 2, 1),
    }
    assert {each.facts["character"].split()[0] for each in templates.problems} == {
        f"U+{ord(odd):04X}"
    }
    assert refusal("weibo", post_of("own"), templates)[0].code == "template_invalid"


def test_f74_names_of_template_files_are_checked_as_well(written):
    """F74: a folder with a name that only looks like another's is refused."""
    templates = written({"warning\u200b/default.txt": PAGE})
    (problem,) = templates.problems
    assert problem.code == "template_name_invisible_character"
    assert problem.facts == {
        "file": "warning\\u200b/default.txt",
        "character": "U+200B ZERO WIDTH SPACE",
    }


def test_f74_an_invisible_character_by_escape_in_a_sample_is_refused(written):
    """F74: the alternative text of a cover is read from there."""
    templates = written(
        {"own/default.txt": PAGE, "own/sample.toml": 'cover = "a\\u202e"'}
    )
    assert [(each.code, each.location.path) for each in templates.problems] == [
        ("invisible_character", "cover")
    ]


@pytest.mark.parametrize("platform", ["tieba", "wechat"])
def test_f74_an_entity_in_a_body_is_refused_in_the_final_text(shipped, platform):
    """F74: Markdown turns it into a character; the problem points to the body."""
    problems = refusal(platform, post_of(body="请拨 1&#x200b;10 &#8238;"), shipped)
    assert {
        (each.code, each.facts["key"], each.facts["part"]) for each in problems
    } >= {("rendered_invisible_character", "body", "text")}
    assert problems[0].facts["character"] == "U+200B ZERO WIDTH SPACE"


def test_f74_an_escape_in_a_template_is_refused_in_the_final_text(written):
    """F74: the problem names the template's file."""
    templates = written({"own/default.txt": PAGE + '{{ "\\u202e" }}'})
    (problem,) = refusal("weibo", post_of("own"), templates)
    assert problem.code == "rendered_invisible_character"
    assert problem.location.file.endswith("own/default.txt")


def test_f74_every_field_of_a_rendered_post_is_checked(shipped):
    """F74: title, summary, link and alternative texts of pictures are checked from any source."""
    picture, _data = read_picture(
        shipped_templates() / "warning" / "cover.png", "截图\u202e"
    )
    post = post_of(title="警惕\u200b诈骗", data={"summary": "摘\u061c要"})
    region = {**REGION, "tip_link": "https://example.gov.cn/\u2066"}
    problems = refusal("wechat", post, shipped, region=region, pictures=[picture])
    found = {
        each.facts["part"]
        for each in problems
        if each.code == "rendered_invisible_character"
    }
    assert found == {"title", "text", "summary", "link", "alt"}


def test_emoji_stay_as_they_were_written(shipped):
    """A family of emoji and a keycap reach the final text whole."""
    text = render_for("tieba", post_of(body="⚠️ 👨‍👩‍👧 1️⃣"), shipped).text
    assert "⚠️ 👨‍👩‍👧 1️⃣" in text
