"""A post with words for single regions becomes one post for each region."""

from dataclasses import replace

import pytest

from publisher.domain.errors import Problem, ScheduleError
from publisher.domain.post import Post
from publisher.schedule.load import locate_problems, parse_schedule
from tests.unit.schedule.contexts import CONTEXT, account, post, reported

WORDS = """[post.data]
summary = "共同的提要"
advice = "共同的建议"
[post.region.110000]
title = "北京的标题"
body = "北京的正文"
text.weibo = "北京的微博"
data.summary = "北京的提要"
"""
FAMILY = post(x=WORDS)


def read(text: str, **changes: object) -> dict[str, Post]:
    context = replace(CONTEXT, **changes)
    return {one.id: one for one in parse_schedule(text, context=context).posts}


def test_each_region_gets_its_own_words_and_the_common_rest() -> None:
    """A region's title, body, texts and single data replace the common ones."""
    found = read(FAMILY)
    assert list(found) == ["scam-1.110000", "scam-1.120000"]
    beijing, tianjin = found.values()
    assert (beijing.title, beijing.body) == ("北京的标题", "北京的正文")
    assert beijing.text_by_platform == {"weibo": "北京的微博"}
    assert beijing.data == {"summary": "北京的提要", "advice": "共同的建议"}
    assert beijing.accounts == ("beijing-weibo", "beijing-wechat")
    common = read(post())["scam-1"]
    assert (tianjin.title, tianjin.body) == (common.title, "")
    assert tianjin.data == {"summary": "共同的提要", "advice": "共同的建议"}
    assert tianjin.accounts == ("tianjin-weibo",)
    assert {one.trigger for one in found.values()} == {common.trigger}


def test_an_edit_of_one_region_changes_no_other() -> None:
    """Only the hash of the region with other words differs; that of the common words differs in all."""
    before = read(FAMILY)
    edited = read(FAMILY.replace("北京的提要", "新的提要"))
    assert [one for one in before if before[one] != edited[one]] == ["scam-1.110000"]
    edited = read(FAMILY.replace("共同的建议", "新的建议"))
    assert [one for one in before if before[one] != edited[one]] == list(before)


def test_a_post_without_words_for_regions_is_an_ordinary_one() -> None:
    """An empty table of regions changes nothing: the hash of a stored post stays."""
    assert read(post(x="region = {}")) == read(post())


def test_accounts_without_a_region_get_the_common_words() -> None:
    """They have a post of their own, which may have words of its own."""
    accounts = [*CONTEXT.accounts.values(), account("ministry", "weibo")]
    known = {one.id: one for one in accounts}
    found = read(FAMILY, accounts=known)
    assert found["scam-1.000000"].accounts == ("ministry",)
    own = FAMILY + '[post.region.000000]\ntitle = "部里的标题"\n'
    assert read(own, accounts=known)["scam-1.000000"].title == "部里的标题"
    with pytest.raises(ScheduleError) as refused:
        read(own)
    [(_line, _column, path, code)] = reported(refused.value)
    assert (path, code) == ("post[0].region.000000", "region_not_addressed")


def test_a_region_keeps_its_post_while_its_accounts_are_off() -> None:
    """An account that is off takes no post out of the schedule."""
    found = read(post(x="[post.region.120000]", to='to = ["tianjin-tieba"]'))
    assert [(one.id, one.accounts) for one in found.values()] == [("scam-1.120000", ())]


FOLLOWER = post(
    id='id = "update-1"',
    kind='kind = "update"',
    x='follows = "scam-1"',
    at='at = "asap"',
)


def test_a_post_that_follows_a_family_is_one() -> None:
    """Each region's member follows the same region's; a chain is followed to its end."""
    last = FOLLOWER.replace("scam-1", "update-1").replace('"update-1"', '"update-2"', 1)
    for text in (FAMILY + FOLLOWER + last, last + FOLLOWER + FAMILY):
        found = read(text)
        assert found["update-1.110000"].follows == "scam-1.110000"
        assert found["update-2.120000"].follows == "update-1.120000"
        assert len(found) == 6


def test_a_family_may_have_left_the_file() -> None:
    """A post follows the members that the database knows; an ordinary original stays one."""
    members = {"scam-1.110000", "scam-1.120000"}
    assert read(FOLLOWER, known_posts=members)["update-1.120000"].follows == (
        "scam-1.120000"
    )
    assert read(FOLLOWER, known_posts={"scam-1"})["update-1"].follows == "scam-1"
    with pytest.raises(ScheduleError) as refused:
        read(FOLLOWER, known_posts={"scam-10.110000"})
    assert [problem.code for problem in refused.value.problems] == ["follows_unknown"]


def test_a_family_may_follow_an_ordinary_post() -> None:
    """Words for regions in an update alone are possible."""
    family = FOLLOWER + '[post.region.110000]\ntitle = "北京"\n'
    found = read(post() + family)
    assert [one.follows for one in found.values()] == [None, "scam-1", "scam-1"]


@pytest.mark.parametrize(
    ("id_line", "code"),
    [('id = "scam-1.110000"', "bad_name"), ('id = "a.b"', "bad_name")],
)
def test_nobody_writes_the_id_of_a_member(id_line: str, code: str) -> None:
    """A written id has no dot, so it is the id of no region's post."""
    with pytest.raises(ScheduleError) as refused:
        read(post(id=id_line))
    assert [problem.code for problem in refused.value.problems] == [code]


def test_a_region_code_that_fits_no_id_is_refused() -> None:
    """Settings may have any code; a family needs one that can be part of an id."""
    accounts = {"a": account("a", "weibo", "北京")}
    with pytest.raises(ScheduleError) as refused:
        read(post(x="[post.region.北京]".replace("北京", '"北京"')), accounts=accounts)
    assert [problem.code for problem in refused.value.problems] == ["region_code_unfit"]


def test_a_problem_is_where_the_words_are() -> None:
    """A region's own words have their own line; the common ones are named once for all."""
    where = {
        ("scam-1.110000", "data.summary"): "post[0].region.110000.data.summary",
        ("scam-1.120000", "data.summary"): "post[0].data.summary",
        ("scam-1.110000", "title"): "post[0].region.110000.title",
        ("scam-1.110000", "at"): "post[0].at",
    }
    for (name, key), path in where.items():
        problem = Problem(code="x", facts={"post": name, "key": key})
        [located] = locate_problems([problem], text=FAMILY)
        assert located.location is not None
        assert located.location.path == path
    alike = [
        Problem(code="x", facts={"post": f"scam-1.{code}", "key": "data.advice"})
        for code in ("110000", "120000")
    ]
    [joined] = locate_problems(alike, text=FAMILY)
    assert joined.facts["post"] == "scam-1"
