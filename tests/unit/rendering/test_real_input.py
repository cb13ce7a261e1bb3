"""The schedule that comes with the program, and the regions of the demo."""

import re
import tomllib
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from adapters.tieba.validation import find_problems as tieba_problems
from adapters.wechat.validation import find_problems as wechat_problems
from adapters.weibo.validation import find_problems as weibo_problems
from publisher.domain.kinds import PostKind
from publisher.domain.post import Marker, WarningLevel
from publisher.rendering.renderer import OriginalPost
from publisher.schedule.load import ScheduleContext, parse_schedule
from tests.unit.rendering.rendering_fixtures import (
    account_of,
    post_of,
    read_picture,
    render_for,
)

ROOT = Path(__file__).parents[3]
POSTS = tomllib.loads((ROOT / "schedule.toml").read_text("utf-8"))["post"]
REGIONS = tomllib.loads(
    (ROOT / "publisher/cli/workspace_files/regions.toml").read_text("utf-8")
)["region"]
TITLES = {post["id"]: post["title"] for post in POSTS}
LINK = re.compile(r"https?://\S+")


def weibo_length(text: str) -> float:
    """Count as Weibo's composer does: a wide character 1, a narrow one a half, a link 10."""
    rest, links = LINK.subn("", text)
    return links * 10 + sum(0.5 if ord(letter) <= 0xFF else 1 for letter in rest)


def read_expiry(entry):
    expires = entry.get("expires")
    return expires and expires.replace(tzinfo=ZoneInfo("Asia/Shanghai"))


def rendered(entry, platform, shipped, region):
    post = post_of(
        entry["template"],
        id=entry["id"],
        kind=PostKind(entry["kind"]),
        title=entry["title"],
        level=WarningLevel(entry["level"]) if "level" in entry else None,
        body=entry.get("body", ""),
        text_by_platform=entry.get("text", {}),
        data=entry.get("data", {}),
        expires_at=read_expiry(entry),
    )
    original = entry.get("follows")
    pictures = [
        read_picture(
            ROOT / "publisher/cli/workspace_files" / image["file"], image["alt"]
        )[0]
        for image in entry.get("images", [])
    ]
    return render_for(
        platform,
        post,
        shipped,
        region=region,
        pictures=pictures,
        original=OriginalPost(title=TITLES[original], marker=Marker(code="AAAA-2222"))
        if original
        else None,
        link_template="https://example.gov.cn/n/{marker}"
        if platform == "weibo"
        else None,
    )


@pytest.mark.parametrize(
    "region", [REGIONS[0], REGIONS[-1]], ids=lambda region: region["slug"]
)
@pytest.mark.parametrize("entry", POSTS, ids=lambda entry: entry["id"])
def test_every_post_fits_every_platform(shipped, entry, region):
    """Each post of the real schedule renders everywhere, with its pictures.

    It is within the platform's limits.
    """
    region = {**region, "police": region["agency"]}
    weibo = rendered(entry, "weibo", shipped, region)
    assert weibo_length(weibo.text) <= 125
    tieba = rendered(entry, "tieba", shipped, region)
    assert len(tieba.text) <= 2000
    assert 5 <= len(tieba.title) <= 31
    wechat = rendered(entry, "wechat", shipped, region)
    assert len(wechat.text) < 20_000
    assert len(wechat.title) <= 32
    assert 0 < len(wechat.summary) <= 120
    assert len(wechat.images) == max(1, len(entry.get("images", [])))
    assert [
        *weibo_problems(account_of("weibo"), weibo),
        *wechat_problems(account_of("wechat"), wechat),
    ] == []
    assert (
        tieba_problems(
            account_of("tieba", forum=region["forum"], has_accepted_risk=True), tieba
        )
        == ()
    )


def test_schedule_is_accepted(shipped):
    """The real schedule is read without a problem, against accounts of two regions and a group."""
    accounts = {
        account.id: account for account in map(account_of, ("weibo", "wechat", "tieba"))
    }
    groups = {"north": tuple(accounts)}
    zone = ZoneInfo("Asia/Shanghai")
    context = ScheduleContext(
        timezone=zone,
        accounts=accounts,
        groups=groups,
        templates=shipped.names,
        platforms=("weibo", "wechat", "tieba"),
    )
    schedule = parse_schedule(
        (ROOT / "schedule.toml").read_text("utf-8"), context=context
    )
    assert [post.id for post in schedule.posts] == list(TITLES)
    assert all(post.accounts for post in schedule.posts)


def test_schedule_shows_every_kind_and_way(shipped):
    """The example has the kinds of a common day and every way to name accounts.

    One post repeats, one is urgent, and some have pictures or own texts.
    """
    kinds = {post["kind"] for post in POSTS}
    assert kinds == set(PostKind)
    assert kinds <= set(shipped.names)
    assert {post["template"] for post in POSTS} >= {"case", "weekly", "service", "tip"}
    assert any("cron" in post for post in POSTS)
    assert any(post.get("urgent") for post in POSTS)
    assert any("images" in post for post in POSTS)
    assert any("weibo" in post.get("text", {}) for post in POSTS)
    assert {to for post in POSTS for to in post["to"]} >= {
        "all",
        "platform:weibo",
        "region:110000",
        "north",
    }
    assert all(
        ("follows" in post) == PostKind(post["kind"]).traits.needs_original
        for post in POSTS
    )
    assert all(post["follows"] in TITLES for post in POSTS if "follows" in post)


def test_national_figures_name_source_period_and_area():
    """Figures of the whole country are no region's own.

    The texts name their publisher and their period.
    """
    bulletins = [post for post in POSTS if "figures" in post.get("data", {})]
    assert bulletins
    for post in bulletins:
        assert all(
            word in post["data"]["summary"]
            for word in ("据公安部通报", "12月31日", "全国公安机关")
        )
        assert all("全国" in figure["name"] for figure in post["data"]["figures"])


def test_a_repeated_tip_is_no_report_of_work_and_says_the_same_throughout():
    """A weekly tip has its own heading, and its summary has the sentences of its body."""
    repeated = [post for post in POSTS if "cron" in post]
    assert repeated
    for post in repeated:
        assert post["data"]["heading"] == "防范提示"
        sentences = post["data"]["summary"].partition("。")[0].split("，")
        assert len(sentences) == 3
        assert all(
            f"{number}. {each}：" in post["body"]
            for number, each in enumerate(sentences, start=1)
        )


def test_only_what_has_a_legal_ground_has_a_level():
    """A level belongs to traffic, weather and emergencies, and names its basis.

    A fraud is never called off.
    """
    for post in POSTS:
        if "level" in post:
            assert post["data"]["topic"] == "emergency"
            assert post["data"]["level_basis"]
        if post["kind"] == "all-clear":
            (original,) = [each for each in POSTS if each["id"] == post["follows"]]
            assert original["data"]["topic"] == "emergency"


def test_schedule_begins_with_its_schema():
    """Editors find the schema in the first line."""
    assert (
        (ROOT / "schedule.toml")
        .read_text("utf-8")
        .startswith("#:schema ./schedule.schema.json\n")
    )


def test_regions_are_fifty_and_distinct():
    """The demo has fifty regions, each with a code, a slug and names of its own."""
    assert len(REGIONS) == 50
    for key in ("code", "slug", "name", "agency", "forum", "tip_link"):
        assert len({region[key] for region in REGIONS}) == 50
    for region in REGIONS:
        assert re.fullmatch(r"\d{4}00", region["code"])
        assert re.fullmatch(r"[a-z]+", region["slug"])
        assert (region["hotline"], region["tip_line"]) == ("110", "110")
        assert region["tip_link"] == f"https://example.gov.cn/tips/{region['slug']}"
        assert region["agency"] == f"{region['name']}市公安局"
