"""Files outside the workspace are not published by any link, and no secret is published."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from publisher.domain.errors import InputError, TemplateError
from publisher.rendering.child import RenderWorker
from publisher.rendering.templates import load_templates
from publisher.runtime.redaction import register_secrets
from tests.unit.rendering.rendering_fixtures import post_of, read_picture, render_for
from tests.unit.rendering.test_images import drawn

GOOD = "{{ marker }} {{ post.title }} {{ data.summary }} 举报 {{ region.tip_line }}"
SECRET = "canary/of/the/workspace=41c9"


@pytest.mark.parametrize(
    "name",
    [
        "own/weibo.txt",
        "own/sample.toml",
        "own/cover.png",
        "_shared/article.css",
        "_shared/part.txt",
    ],
)
def test_i19_a_link_among_the_templates_is_refused_by_name(written, tmp_path, name):
    """I19: a link among the templates is a problem, and its target is not read.

    The link may stand for a page, part, sample, cover or stylesheet.
    """
    outside = tmp_path / "outside"
    outside.write_text(SECRET, "utf-8")
    templates = tmp_path / "templates"
    (templates / name).parent.mkdir(parents=True)
    (templates / name).symlink_to(outside)
    loaded = load_templates([templates], RenderWorker())
    problem = loaded.faults[name][0]
    assert (problem.code, problem.location.file) == (
        "file_is_link",
        str(templates / name),
    )
    assert SECRET not in repr(loaded)


def test_i19_a_linked_folder_of_templates_is_refused(tmp_path):
    """I19: a template in a linked folder is no template, and its target is not read."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "weibo.txt").write_text(GOOD, "utf-8")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "own").symlink_to(tmp_path / "outside")
    loaded = load_templates([tmp_path / "templates"], RenderWorker())
    assert [problem.code for problem in loaded.problems] == ["file_is_link"]
    with pytest.raises(TemplateError):
        render_for("weibo", post_of("own"), loaded)


def test_i19_a_link_that_leads_nowhere_is_named_too(tmp_path):
    """I19: a link is refused as a link, whether or not its target can be read at the moment."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "weibo.txt").symlink_to(tmp_path / "nothing")
    assert [
        problem.code for problem in load_templates([tmp_path], RenderWorker()).problems
    ] == ["file_is_link"]


@pytest.mark.parametrize("linked", ["media/refund.png", "media/autumn"])
def test_i19_a_linked_picture_is_refused(tmp_path, linked):
    """I19: neither a picture nor a folder of pictures may be a link, and the file is named."""
    (tmp_path / "outside").mkdir()
    picture = tmp_path / "outside" / "refund.png"
    picture.write_bytes(drawn("PNG"))
    (tmp_path / "media").mkdir()
    link = tmp_path / linked
    link.symlink_to(picture if link.suffix else picture.parent)
    path = link if link.suffix else link / "refund.png"
    with pytest.raises(InputError) as caught:
        read_picture(path, "图", below=tmp_path / "media")
    assert [(each.code, each.facts["file"]) for each in caught.value.problems] == [
        ("file_is_link", "refund.png")
    ]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_f75_a_folder_or_pipe_is_refused_at_once_and_left_closed(tmp_path, make):
    """F75: a folder or a pipe named like a picture is refused at once and left closed.

    Nothing waits for a pipe.
    """
    make(tmp_path / "a.png")
    for _ in range(3):
        with pytest.raises(InputError) as caught:
            read_picture(tmp_path / "a.png", "图", below=tmp_path)
        assert [each.code for each in caught.value.problems] == ["image_file_missing"]
    assert (tmp_path / "a.png").resolve() not in {
        each.resolve() for each in Path("/proc/self/fd").iterdir()
    }


def test_a_workspace_that_is_reached_by_a_link_works(written, tmp_path):
    """Only the content of the folders is checked; their own places are the operator's choice."""
    written({"real/templates/own/weibo.txt": GOOD, "real/media/a.png": drawn("PNG")})
    (tmp_path / "srv").symlink_to(tmp_path / "real")
    loaded = load_templates([tmp_path / "srv" / "templates"], RenderWorker())
    assert render_for("weibo", post_of("own"), loaded).text
    assert read_picture(
        tmp_path / "srv/media/a.png", "图", below=tmp_path / "srv/media"
    )


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("title", {"title": f"警惕 {SECRET}"}),
        ("data.summary", {"data": {"summary": SECRET}}),
        (
            "data.summary",
            {"data": {"summary": "打开 https://example.com/?access_token=abc123"}},
        ),
        ("text.weibo", {"text_by_platform": {"weibo": f"密钥 {SECRET}"}}),
    ],
)
def test_i19_a_text_that_redaction_would_change_is_refused(written, key, change):
    """I19: a text with a secret is refused at its key, and the secret is not repeated."""
    register_secrets([SECRET])
    templates = written({"own/weibo.txt": GOOD + " {{ words or '' }}"})
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", replace(post_of("own"), **change), templates)
    (problem,) = caught.value.problems
    assert (problem.code, problem.facts["key"]) == ("rendered_with_secret", key)
    assert SECRET not in repr(problem)
    assert "abc123" not in repr(problem)


def test_i19_a_secret_in_a_template_is_refused_at_its_place(written):
    """I19: a secret in the template itself is reported at the template's file."""
    register_secrets([SECRET])
    templates = written({"own/weibo.txt": f"{GOOD} {SECRET}"})
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", post_of("own"), templates)
    (problem,) = caught.value.problems
    assert problem.code == "rendered_with_secret"
    assert problem.location.file.endswith("own/weibo.txt")
    assert SECRET not in repr(problem)
