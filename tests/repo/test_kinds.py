"""Each kind of post is whole: names, template, page in the docs, and settings accept it."""

import re
import tomllib
from pathlib import Path

import pytest

from publisher.cli.workspace import new_workspace_files
from publisher.config import parse_settings
from publisher.domain.approval import Stage
from publisher.domain.errors import InputError
from publisher.domain.kinds import KINDS, PostKind, list_kinds
from publisher.i18n import LANGUAGES, Messages
from publisher.rendering.templates import shipped_templates
from publisher.schedule.load import parse_schedule
from publisher.schedule.warnings import find_lone_approvals
from publisher.web.kit.static_files import STYLE_FILE, load_static_files
from tests.unit.schedule.contexts import CONTEXT, post

ROOT = Path(__file__).parents[2]

of_each_kind = pytest.mark.parametrize("kind", PostKind)


def test_each_kind_has_one_row():
    """The table is complete, in the order of the codes."""
    assert list(KINDS) == list(PostKind)


@of_each_kind
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_kind_has_its_texts_in_both_languages(kind, lang):
    """People see the name, sign and hint of the table."""
    traits, messages = kind.traits, Messages(lang)
    expected = [traits.name[lang], traits.sign[lang], traits.hint[lang]]
    codes = [f"kind_{kind}", f"kind_{kind}_sign", f"kind_{kind}_hint"]
    assert [messages.translate(code) for code in codes] == expected
    assert all(expected)
    assert len(traits.sign[lang]) == 1


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_two_kinds_look_alike(lang):
    """A name and a sign each belong to one kind."""
    for texts in ("name", "sign"):
        shown = [getattr(traits, texts)[lang] for traits in KINDS.values()]
        assert len(set(shown)) == len(shown)


@of_each_kind
def test_a_kind_has_a_template(kind):
    """A template of the kind's name is shipped: one data file, perhaps with a cover."""
    files = {entry.name for entry in (shipped_templates() / kind).iterdir()}
    assert {"sample.toml"} <= files <= {"sample.toml", "cover.png"}


def test_few_files_print_all_templates():
    """Ten pages and parts print every template: a new one is a data file."""
    printed = [
        path
        for path in shipped_templates().glob("*/*")
        if path.suffix in {".txt", ".html", ".css"}
    ]
    assert len(printed) <= 10


@of_each_kind
@pytest.mark.parametrize("lang", LANGUAGES)
def test_each_key_of_a_kinds_data_has_its_label(kind, lang):
    """The form names each key that the sample needs or offers, in words."""
    path, messages = shipped_templates() / kind / "sample.toml", Messages(lang)
    sample = tomllib.loads(path.read_text("utf-8"))
    codes = [
        f"web_write_data_{key}"
        for key in {**sample["needs"], **sample.get("offers", {})}
    ]
    missing = [code for code in codes if messages.translate(code) == code]
    assert not missing, f"publisher/i18n/web_write.toml has no {missing}"


@of_each_kind
def test_a_kind_is_in_the_docs(kind):
    """The pages on the schedule and on templates describe the kind."""
    schedule = (ROOT / "docs" / "schedule.md").read_text("utf-8")
    templates = (ROOT / "docs" / "templates.md").read_text("utf-8")
    [row] = re.findall(rf"^\| `{kind}` \|.*", schedule, re.MULTILINE)
    assert all(kind.traits.name[lang] in row for lang in LANGUAGES)
    assert f"\n### {kind}\n" in templates


@of_each_kind
def test_settings_accept_approvals_of_a_kind(kind):
    """A kind may have stages of its own; all others keep those of the preset."""
    text = f'[[approvals.{kind}]]\nstage = "初审"\n'
    rules = parse_settings(text, workspace=Path("/srv/police")).approval_rules
    with_stages = [other for other in PostKind if rules.chain_for(other)]
    assert rules.chain_for(kind.value) == (Stage(name="初审"),)
    assert with_stages == [kind]


@of_each_kind
@pytest.mark.parametrize("stages", [0, 1, 2])
def test_a_kind_for_two_people_is_reported_where_fewer_approve(kind, stages):
    """A notice that one person alone can publish is a warning; two stages are enough."""
    text = post(kind=f'kind = "{kind}"\nfollows = "older-post"')
    chain = "".join(
        f'[[approvals.{kind}]]\nstage = "{number}审"\n' for number in range(stages)
    )
    chain = f'timezone = "Asia/Shanghai"\n{chain}'
    rules = parse_settings(chain, workspace=Path("/srv/police")).approval_rules
    found = find_lone_approvals(parse_schedule(text, context=CONTEXT), rules)
    is_reported = kind.traits.needs_two and stages < 2
    assert [problem.code for problem in found] == ["kind_needs_two"] * is_reported


@of_each_kind
def test_a_schedule_accepts_a_kind_with_its_original(kind):
    """A kind that follows an earlier post is refused without one, and any other is accepted."""
    text = post(kind=f'kind = "{kind}"')
    followed = post(kind=f'kind = "{kind}"\nfollows = "older-post"')
    assert parse_schedule(followed, context=CONTEXT).posts[0].kind is kind
    if not kind.traits.needs_original:
        assert parse_schedule(text, context=CONTEXT).posts[0].kind is kind
        return
    with pytest.raises(InputError) as refused:
        parse_schedule(text, context=CONTEXT)
    assert [problem.code for problem in refused.value.problems] == ["follows_missing"]


@of_each_kind
def test_a_chinese_name_is_answered_with_the_code(kind):
    """Staff who write the name of a kind get the code to write."""
    text = post(
        kind=f'kind = "{kind.traits.name["zh_CN"]}"', x='follows = "older-post"'
    )
    with pytest.raises(InputError) as refused:
        parse_schedule(text, context=CONTEXT)
    assert kind.value in str(refused.value.problems[0].facts)


@of_each_kind
def test_the_form_hides_the_fields_of_other_kinds(kind):
    """The style of the dashboard has a rule of each kind."""
    style = load_static_files()[STYLE_FILE].body.decode()
    assert f'[value="{kind}"]:checked) [class*="for-"]:not(.for-{kind})' in style


def test_the_heads_of_schedules_list_all_kinds():
    """The comments of the demo's schedule and of a new workspace's one have each kind."""
    demo, new = (
        (ROOT / "schedule.toml").read_text("utf-8"),
        new_workspace_files()["schedule.toml"],
    )
    assert list_kinds() in demo
    assert list_kinds() in new.decode()
