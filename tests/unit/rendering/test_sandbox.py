"""The limits of templates, and the places of reports about their mistakes."""

import errno
import re
import tomllib
from collections import deque
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from publisher import i18n, rendering
from publisher.domain import values
from publisher.domain.errors import TemplateError
from publisher.rendering import templates as reading
from publisher.rendering.child import RenderWorker
from publisher.rendering.sandbox import (
    Budget,
    BudgetExceededError,
    _MissingVariable,
    join_values,
)
from publisher.rendering.templates import load_templates
from tests.unit.rendering.rendering_fixtures import post_of, render_for
from tests.unit.rendering.sandbox_escapes import ESCAPES

GOOD = "{{ marker }} 12377"


def refusal(written, text, **changes):
    """Render a one-page template that must fail, and return its only problem."""
    templates = written({"own/weibo.txt": text})
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", post_of("own", **changes), templates)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("text", ESCAPES)
def test_reaching_out_is_refused(written, text):
    """F74: a template can call nothing, and reach no internals of Python and no other file.

    It can repeat no text endlessly.
    """
    templates = written({"own/weibo.txt": f"{GOOD}\n{text}"})
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", post_of("own"), templates)
    problem = caught.value.problems[-1]
    assert problem.code.startswith("template_")
    assert problem.location.line == 2


@pytest.mark.parametrize(
    "text",
    [
        "{{ 1|random }}",
        "{{ 'x'|format }}",
        "{{ 'x'|indent(9) }}",
        "{% if %}",
        "{{ 'a' ",
    ],
)
def test_unknown_filters_and_bad_syntax_are_reported_at_loading(written, text):
    """F74: syntax errors and unlisted filters are problems with file and line."""
    (problem,) = written({"own/weibo.txt": f"{GOOD}\n\n{text}"}).problems
    assert problem.code == "template_syntax"
    assert problem.location.file.endswith("own/weibo.txt")
    assert problem.location.line == 3


@pytest.mark.long
@pytest.mark.parametrize(
    "text",
    [
        "{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}",
        "{% for a in range(10000000) %}{% endfor %}",
        "{% macro f(n) %}{{ f(n - 1) }}{{ f(n - 1) }}{% endmacro %}{{ f(500) }}",
        (
            "{% for a in range(900) recursive %}"
            "{% if loop.depth < 5 %}{{ loop(range(900)) }}{% endif %}{% endfor %}"
        ),
        "{% include 'own/weibo.txt' %}",
        "{% for a in range(900) %}{% for b in 'x' * 1 %}{% endfor %}{% endfor %}",
    ],
)
def test_endless_rendering_is_stopped(written, text):
    """F74: endless loops, macros and includes are stopped soon, with the line they ran in."""
    problem = refusal(written, f"{GOOD}\n{text}")
    assert problem.code == "template_too_slow" or (
        problem.code == "template_forbidden" and "'x' * 1" in text
    )
    assert problem.location.line in {1, 2}


def test_imported_macros_share_the_budget(written):
    """A macro of another file has the same budget as its caller."""
    endless = (
        "{% macro f() %}{% for a in range(999) %}{% for b in range(999) %}"
        "{% endfor %}{% endfor %}{% endmacro %}"
    )
    page = "{% from '_shared/m.txt' import f %}" + GOOD + "{{ f() }}"
    templates = written({"_shared/m.txt": endless, "own/weibo.txt": page})
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", post_of("own"), templates)
    (problem,) = caught.value.problems
    assert problem.code == "template_too_slow"
    assert problem.location.file.endswith("_shared/m.txt")


DOUBLING = "{% set a0 = 'xxxxxxxxxx' %}" + "".join(
    f"{{% set a{n + 1} = a{n} ~ a{n} %}}" for n in range(40)
)
GATHERING = "{% set a0 %}xxxxxxxxxx{% endset %}" + "".join(
    f"{{% set a{n + 1} %}}{{{{ a{n} }}}}{{{{ a{n} }}}}{{% endset %}}" for n in range(40)
)
ADDING = "{% set a0 = 'xxxxxxxxxx' %}" + "".join(
    f"{{% set a{n + 1} = a{n} + a{n} %}}" for n in range(40)
)
JOINING = "{% set a0 = 'xxxxxxxxxx' %}" + "".join(
    f"{{% set a{n + 1} = [a{n}, a{n}]|join(a{n}) %}}" for n in range(40)
)
FLOOD = "{% for a in range(900) %}" + "长" * 200 + "{% endfor %}"
NUMBERS = "{% set a0 = 9 %}" + "".join(
    f"{{% set a{n + 1} = a{n} * a{n} %}}" for n in range(40)
)


@pytest.mark.parametrize("text", [DOUBLING, GATHERING, ADDING, JOINING, FLOOD, NUMBERS])
def test_huge_output_is_stopped(written, text):
    """F74: growing text is stopped before it fills the memory, however it is built."""
    assert refusal(written, f"{GOOD}\n{text}").code == "template_output_too_large"


def test_missing_value_is_named_with_its_line(written):
    """F74: a missing value is named with file, line, post and account.

    Nothing is printed in its place.
    """
    problem = refusal(written, f"{GOOD}\n一\n{{{{ data.hotline }}}}")
    assert problem.code == "template_undefined"
    assert (problem.location.line, problem.facts["name"]) == (3, "hotline")
    assert problem.location.file.endswith("own/weibo.txt")
    assert "hotline" in i18n.Messages().format_problem(problem)


def test_missing_value_in_a_loop_or_sum_is_named(written):
    """Looping over, adding or joining a missing value names it too."""
    for text in (
        "{% for x in data.none_such %}{% endfor %}",
        "{{ 1 + none_such }}",
        "{{ 'a' ~ none_such }}",
    ):
        problem = refusal(written, f"{GOOD}\n{text}")
        assert (problem.code, problem.facts["name"], problem.location.line) == (
            "template_undefined",
            "none_such",
            2,
        )


@pytest.mark.parametrize(
    "text",
    [
        "{{ [nobody] }}",
        "{{ (1, nobody) }}",
        "{{ {'a': nobody} }}",
        "{{ [1, [2, {'a': (nobody,)}]] }}",
        "{{ [nobody]|string }}",
        "{{ [nobody]|upper }}",
        "{{ [nobody]|lower }}",
        "{{ [nobody]|trim }}",
        "{{ [nobody]|e }}",
        "{{ [nobody]|safe }}",
        "{{ [nobody]|sentence }}",
        "{{ [nobody]|join }}",
        "{{ [[nobody]]|join('、') }}",
        "{{ 'a' ~ [nobody] }}",
        "{{ [nobody]|map('upper')|join }}",
        "{{ [nobody]|first }}",
        "{% set list = [nobody] %}{{ list }}",
        "{% macro f(x) %}{{ x }}{% endmacro %}{{ f([nobody]) }}",
        "{% for x in [nobody] %}{{ x }}{% endfor %}",
        "{{ 'a' if [nobody][0] else 'b' }}",
    ],
)
@pytest.mark.parametrize("page", ["own/weibo.txt", "own/wechat.html"])
def test_a_missing_value_within_a_list_or_table_is_named(written, text, page):
    """F74: a missing value at any depth, in any conversion to text, is the same problem."""
    with pytest.raises(TemplateError) as caught:
        render_for(Path(page).stem, post_of("own"), written({page: f"{GOOD}\n{text}"}))
    (problem,) = caught.value.problems
    assert (problem.code, problem.facts["name"], problem.location.line) == (
        "template_undefined",
        "nobody",
        2,
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{{ [1, 2] }}", "list"),
        ("{{ ['甲', '乙'] }}", "list"),
        ("{{ data }}", "dict"),
        ("{{ data.list }}", "list"),
        ("{{ post }}", "dict"),
        ("{{ none }}", "NoneType"),
        ("{{ true }}", "bool"),
        ("{{ range(3) }}", "range"),
        ("{{ range }}", "function"),
        ("{{ due_at }}", "datetime"),
        ("{{ data.list|map('upper') }}", "generator"),
        ("{% macro f(x) %}{% endmacro %}{{ f }}", "Macro"),
        ("{% for x in [1] %}{{ loop }}{% endfor %}", "LoopContext"),
        ("{{ [data.list]|join }}", "list"),
        ("{{ 'a' ~ data.list }}", "list"),
        ("{{ data.list|string }}", "list"),
        ("{{ due_at|upper }}", "datetime"),
        ("{{ data.list|safe }}", "list"),
        ("{{ post|e }}", "dict"),
    ],
)
def test_only_texts_and_numbers_are_printed(written, text, kind):
    """F74: a value without a text of its own is a problem with its line, named by its kind.

    A text of Python's does not count as its own.
    """
    problem = refusal(written, f"{GOOD}\n{text}", data={"list": ["甲"]})
    assert (problem.code, problem.location.line) == ("template_unprintable", 2)
    assert kind in problem.facts["kind"]
    assert all(
        problem.facts["kind"] in i18n.Messages(lang).format_problem(problem)
        for lang in i18n.LANGUAGES
    )


def test_a_list_that_contains_much_is_refused_soon(written):
    """F74: the search for missing values visits each list once, however often it is in others."""
    nested = "{% set a0 = ['x'] %}" + "".join(
        f"{{% set a{n + 1} = [a{n}, a{n}] %}}" for n in range(60)
    )
    assert (
        refusal(written, f"{GOOD}\n{nested}{{{{ a60 }}}}").code
        == "template_unprintable"
    )


def test_numbers_texts_and_defaults_are_printed(written):
    """A number prints as it is, and a default replaces a missing value, in a list as well."""
    page = (
        GOOD + " {{ 7 }}/{{ 1.5 }}/{{ none_such|default('甲') }}/"
        "{{ [none_such|d('乙'), 2]|join('、') }}/{{ 3|string }}"
    )
    text = render_for("weibo", post_of("own"), written({"own/weibo.txt": page})).text
    assert text.endswith("7/1.5/甲/乙、2/3")


def test_a_missing_value_has_no_text():
    """Every conversion to text raises for a missing value, as a debugger's or a list's."""
    missing = _MissingVariable(name="nobody")
    for spell in (str, repr, format, "{0!r}".format, "{0!a}".format):
        with pytest.raises(UndefinedError, match="nobody"):
            spell(missing)


def test_an_error_in_an_included_part_is_reported_there(written):
    """A mistake in a shared part is reported in that part, not in the page that includes it."""
    templates = written(
        {
            "_shared/part.txt": "\n\n{{ 1 // 0 }}",
            "own/weibo.txt": GOOD + "{% include '_shared/part.txt' %}",
        }
    )
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", post_of("own"), templates)
    (problem,) = caught.value.problems
    assert (problem.code, problem.location.line) == ("template_failed", 3)
    assert problem.location.file.endswith("_shared/part.txt")


def test_keys_named_like_methods_are_keys(written):
    """A data key called items, values or pop is read as data."""
    templates = written({"own/weibo.txt": GOOD + "{{ data.items }}{{ data.pop }}"})
    assert render_for(
        "weibo", post_of("own", data={"items": "甲", "pop": "乙"}), templates
    ).text.endswith("甲乙")


def test_ordinary_templates_still_work(written):
    """Macros, loops with their counters, joins, ranges and inheritance are allowed."""
    page = (
        "{% macro bold(x) %}*{{ x }}*{% endmacro %}{{ marker }} 12377 "
        "{% for x in data.list %}{{ loop.index }}/{{ loop.length }}{{ bold(x) }}"
        "{{ loop.cycle('a', 'b') }}{% endfor %}"
        "{{ data.list|join('、') }}{{ 1 + 2 }}{{ 'a' ~ 'b' }}"
        "{{ range(3)|list|length }}{{ due_at|day }}"
    )
    text = render_for(
        "weibo",
        post_of("own", data={"list": ["甲", "乙"]}),
        written({"own/weibo.txt": page}),
    ).text
    assert text.endswith("12377 1/2*甲*a2/2*乙*b甲、乙3ab31月5日")


@pytest.mark.parametrize(
    ("words", "ended"),
    [
        ("好", "好。"),
        ("好。", "好。"),
        ("好！", "好！"),
        ("“好”", "“好”。"),
        ("“好。”", "“好。”"),
        (" 好 ", "好。"),
    ],
)
def test_sentences_end_with_one_mark(written, words, ended):
    """The filter `sentence` adds a full stop exactly where none is."""
    templates = written({"own/weibo.txt": GOOD + " {{ data.x|sentence }}"})
    assert render_for(
        "weibo", post_of("own", data={"x": words}), templates
    ).text.endswith(f"12377 {ended}")


def test_workspace_files_replace_shipped_ones_one_by_one(written):
    """A workspace's own weibo.txt replaces the shipped one; the template's other pages stay."""
    templates = written(
        {"warning/weibo.txt": "自己的{{ marker }} 12377"}, with_shipped=True
    )
    assert render_for("weibo", post_of(), templates).text.startswith("自己的")
    assert "请务必接听" in render_for("tieba", post_of(), templates).text


def test_unknown_template_names_the_known(shipped):
    """A post with an unknown template gets a problem with the known ones."""
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", post_of("warnning"), shipped)
    (problem,) = caught.value.problems
    assert problem.code == "template_unknown"
    assert "warning" in problem.facts["known"]


def test_a_platform_without_page_is_reported(written):
    """A template with neither the platform's page nor default.txt cannot be used there."""
    with pytest.raises(TemplateError) as caught:
        render_for("tieba", post_of("own"), written({"own/weibo.txt": GOOD}))
    assert [problem.code for problem in caught.value.problems] == [
        "template_without_page"
    ]


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"summary": " "}, "data.summary"),
        ({"summary": 7}, "data.summary"),
        ({"advice": "先挂断"}, "data.advice"),
        ({"advice": [7]}, "data.advice"),
        ({"figures": [{"name": "案件"}]}, "data.figures"),
        ({"figures": {"name": "案件", "value": "7"}}, "data.figures"),
    ],
)
def test_data_of_another_kind_is_refused(shipped, data, key):
    """Data of another kind than the sample's is refused before it is printed.

    It would be printed letter by letter, for example.
    """
    with pytest.raises(TemplateError) as caught:
        render_for(
            "tieba", post_of("bulletin", data={"summary": "要点", **data}), shipped
        )
    (problem,) = caught.value.problems
    assert problem.facts["key"] == key
    assert problem.code == (
        "template_data_missing" if data == {"summary": " "} else "template_data_wrong"
    )


def test_missing_data_is_reported_with_its_purpose(shipped):
    """A post that lacks a required key gets a problem with the key and its purpose."""
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", post_of("correction", data={"summary": "x"}), shipped)
    assert [problem.facts["name"] for problem in caught.value.problems] == [
        "right",
        "wrong",
    ]
    assert [problem.facts["key"] for problem in caught.value.problems] == [
        "data.right",
        "data.wrong",
    ]
    assert all(problem.facts["use"] for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("name", "content", "code", "line"),
    [
        ("own/weibo.txt", "{{ marker }}\n中文".encode("gbk"), "template_not_utf8", 2),
        ("own/weibo.txt", b"x" * 70_000, "template_too_big", 1),
        ("own/sample.toml", b"about = 'x'\nbroken\n", "no_equals", 2),
        ("own/sample.toml", b"about = " + b"9" * 5000, "word_too_long", 1),
        ("own/sample.toml", b"about = 0x" + b"f" * 5000, "word_too_long", 1),
        ("own/sample.toml", b"a." * 2000 + b"a = 1", "key_too_long", 1),
        ("own/sample.toml", b"a." * 32_000 + b"a = 1", "key_too_long", 1),
        ("own/sample.toml", b"unheard = 1", "template_sample_key", 1),
        ("own/sample.toml", b"needs = ['summary']", "template_sample_key", 1),
        ("own/cover.png", b"not a picture", "image_unknown_type", 1),
    ],
)
def test_f74_an_unusable_file_affects_only_its_template(
    written, name, content, code, line
):
    """F74: an unusable file is reported with its line at loading and at each use.

    The other templates work.
    """
    templates = written({"own/weibo.txt": GOOD, "other/weibo.txt": GOOD, name: content})
    (problem,) = templates.problems
    assert (problem.code, problem.location.line) == (code, line)
    assert problem.location.file.endswith(name)
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", post_of("own"), templates)
    assert [each.code for each in caught.value.problems] == ["template_invalid", code]
    assert render_for("weibo", post_of("other"), templates).text


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("_shared/part.txt", b"{% if %}", "template_syntax"),
        ("_shared/part.txt", "文".encode("gbk"), "template_not_utf8"),
        ("_shared/article.css", b"\xff", "template_not_utf8"),
    ],
)
def test_f74_an_unusable_shared_part_affects_only_its_users(
    written, name, content, code
):
    """F74: only the users of an unusable shared part are refused, with its place.

    Users are pages that include it, and articles with it as the stylesheet.
    """
    included = GOOD + "{% include '_shared/part.txt' ignore missing %}"
    templates = written(
        {
            "own/weibo.txt": included,
            "other/weibo.txt": GOOD,
            "own/wechat.html": f"<p>{GOOD}</p>",
            name: content,
        }
    )
    assert [problem.code for problem in templates.problems] == [code]
    with pytest.raises(TemplateError) as caught:
        render_for(
            "wechat" if name.endswith(".css") else "weibo", post_of("own"), templates
        )
    asked, behind = caught.value.problems
    assert (asked.code, asked.facts["part"], behind) == (
        "template_part_invalid",
        name,
        templates.problems[0],
    )
    assert render_for("weibo", post_of("other"), templates).text


def test_f74_pages_nested_too_deep_are_problems_like_any_other(written):
    """F74: a page that the compiler itself cannot handle stops no loading."""
    loops = "{% for x in data.l %}" * 40 + "{% endfor %}" * 40
    sums = "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}"
    sample = b"[data]\nx = " + b"[" * 5000 + b"]" * 5000
    templates = written(
        {"loops/weibo.txt": loops, "sums/weibo.txt": sums, "data/sample.toml": sample}
    )
    assert templates.names == ("data", "loops", "sums")
    assert set(templates.faults) == {
        "loops/weibo.txt",
        "sums/weibo.txt",
        "data/sample.toml",
    }


def test_f74_an_unreadable_file_is_a_problem(written, tmp_path, monkeypatch):
    """F74: an unreadable file is named, and the rest is loaded."""
    written({"own/weibo.txt": GOOD, "other/weibo.txt": GOOD})

    def refuse(path, *_args, **_facts):
        raise PermissionError(errno.EACCES, "denied", str(path))

    shown = Path.is_file
    monkeypatch.setattr(
        Path,
        "is_file",
        lambda path: refuse(path) if path.parent.name == "own" else shown(path),
    )
    opened = reading.open_without_symlinks
    monkeypatch.setattr(
        reading,
        "open_without_symlinks",
        lambda path, trusted_root: (refuse if path.parent.name == "own" else opened)(
            path, trusted_root
        ),
    )
    templates = load_templates([tmp_path], RenderWorker())
    assert ([problem.code for problem in templates.problems], templates.names) == (
        ["template_unreadable"],
        ("other", "own"),
    )


def test_all_loading_problems_come_at_once(written):
    """Two broken files are reported together."""
    assert (
        len(written({"own/weibo.txt": "{% if %}", "own/tieba.txt": "{{ }"}).problems)
        == 2
    )


def test_missing_folder_has_no_templates(tmp_path):
    """A workspace without a templates folder is valid."""
    assert load_templates([tmp_path / "none"], RenderWorker()).names == ()


def test_time_runs_out_too():
    """F74: a rendering with few but slow steps is stopped by the clock."""
    budget = Budget(steps=64, seconds=0)
    with pytest.raises(BudgetExceededError):
        deque((budget.spend() for _ in range(64)), maxlen=0)


def test_every_code_has_words():
    """Each problem of rendering has Chinese and English texts.

    No text is left without a problem.
    """
    domain = Path(values.__file__).parent
    files = [*Path(rendering.__file__).parent.glob("*.py"), Path(values.__file__)]
    files.append(domain / "template_rules.py")
    sources = "".join(path.read_text("utf-8") for path in files)
    codes = set(
        re.findall(
            r'"((?:template|renderer|rendered|rendering|post|region|urgent|images?|value|rule)_\w+)"',
            sources,
        )
    )
    words = Path(i18n.__file__).with_name("rendering.toml").read_text("utf-8")
    assert codes == set(tomllib.loads(words))
    assert all(
        i18n.Messages(lang=lang).translate(code) != code
        for lang in i18n.LANGUAGES
        for code in codes
    )


def test_a_join_escapes_plain_texts_alone():
    """A join leaves markup as it is, also beside a separator that is markup.

    Numbers may separate.
    """
    bold = Markup("<b>x</b>")
    assert join_values(["<a>", bold], Markup("<br>")) == "&lt;a&gt;<br><b>x</b>"
    assert join_values(["<a>", bold], "<") == "&lt;a&gt;&lt;<b>x</b>"
    plain = join_values(["<a>", "y"], Markup("<br>"))
    # escaped as a whole when it is printed
    assert (plain, isinstance(plain, Markup)) == (
        "<a><br>y",
        False,
    )
    assert join_values(["a", "b"], 3) == "a3b"
