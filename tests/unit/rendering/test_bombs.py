"""Texts that exhaust their reader: each is read in linear time, or refused."""

import time

import pytest

from publisher.domain.errors import TemplateError
from publisher.rendering.markdown import (
    MAX_DEPTH,
    body_html,
    body_text,
    is_too_deep,
    sanitize_html,
    tidy,
)
from publisher.rendering.renderer import MAX_BODY_CHARACTERS
from publisher.rendering.text_split import split_text
from tests.unit.rendering.rendering_fixtures import post_of, render_for, traits_of
from tests.unit.rendering.test_split import MARKER

LONG = 400_000


@pytest.mark.parametrize(
    "work",
    [
        lambda: tidy(f"a{' ' * LONG}b\n"),
        lambda: tidy(f"a{' ' * LONG}\nb"),
        lambda: sanitize_html(f"<p>{chr(10) * LONG}a</p>", ""),
        lambda: sanitize_html(f"<p>a</p>{chr(10) * LONG}a", ""),
        lambda: split_text("。" * 20_000, MARKER, traits_of("tieba")),
        lambda: split_text("\r\n\r\n。" * 4_000, MARKER, traits_of("tieba")),
    ],
)
def test_long_runs_of_one_character_are_read_once(work):
    """F74: quadratic code took minutes of processor time for texts of this length."""
    began = time.process_time()
    work()
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("html", "answer"),
    [
        ("<b>" * 14_000, True),
        ("<p>" * (MAX_DEPTH + 1), True),
        ("<b></i>" * (MAX_DEPTH + 1), True),
        ("<p>" * MAX_DEPTH + "</p>" * MAX_DEPTH, False),
        ("<p>a</p>" * 5_000, False),
        ("<br><img src='x'>" * 5_000, False),
        ("1 < 2 " * 5_000, False),
    ],
)
def test_depth_of_elements_is_counted(html, answer):
    """F74: unclosed elements count as open to the end; void ones and plain text do not count."""
    assert is_too_deep(html) is answer


def test_deep_article_is_refused_with_its_page(written):
    """F74: 14,000 open elements crash the inliner by a segmentation fault; they never reach it."""
    templates = written(
        {"own/wechat.html": "{{ marker }} {{ region.tip_line }}\n" + "<b>" * 14_000}
    )
    with pytest.raises(TemplateError) as caught:
        render_for("wechat", post_of("own"), templates)
    (problem,) = caught.value.problems
    assert problem.code == "rendered_nesting_too_deep"
    assert problem.location.file.endswith("own/wechat.html")


def test_long_body_is_refused_at_its_key(shipped):
    """F74: a body longer than any platform accepts is not even read as Markdown."""
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", post_of(body="长" * (MAX_BODY_CHARACTERS + 1)), shipped)
    (problem,) = caught.value.problems
    assert (problem.code, problem.facts["key"]) == ("post_body_too_long", "body")


def test_costly_constants_cost_nothing_when_they_are_compiled(written):
    """F74: a constant that takes minutes to compute is left for the limited rendering."""
    assert not written(
        {"own/weibo.txt": "{% if false %}{{ 1|round(-100000000) }}{% endif %}"}
    ).problems


URL = "https://example.gov.cn/" + "a" * 900


@pytest.mark.long
@pytest.mark.parametrize(
    "body",
    [
        f"[a]: {URL}\n\n" + "[b][a] " * 1_500,
        f"[a]: {URL}\n\n" + "[a] " * 1_500,
        f"[b]({URL})" * 40,
        f"<{URL}>" * 40,
        "> " * 50 + "- " * 50 + "a\n" * 1_000,
        "- a\n" * 1_900,
        "|a" * 40 + "|\n" + "|-" * 40 + "|\n" + "|a\n" * 40,
        "&amp;" * 900,
        "*a*" * 1_600,
    ],
)
def test_f74_a_body_grows_by_a_factor_at_most(body):
    """A reference to a long target, written out at each use, made 16 MB of 14 kB.

    An author's post of that kind took 4 GB of the daemon's memory.
    """
    assert len(body_text(body)) < 4 * len(body) + 1_000
    assert len(body_html(body, "")) < 60 * len(body) + 1_000


def test_f74_nested_lists_count_as_marks(shipped):
    """46 kB of nested lists took 0.7 s of processor time, for each occurrence of a post."""
    post = post_of(body=("1. " * 7 + "a\n") * 1_990)
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", post, shipped)
    assert [one.code for one in caught.value.problems] == ["post_body_too_costly"]
