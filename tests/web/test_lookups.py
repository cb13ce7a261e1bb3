"""Calendar, audit, search and help."""

import csv
import io
import json
import re
from datetime import timedelta

import pytest

from publisher.domain.delivery import State
from publisher.domain.post import derive_marker
from publisher.engine.decisions import named_person
from publisher.schedule import cron
from publisher.store.db.rows import write_audit
from publisher.web.kit.pinyin import begins_with, read_letters
from tests.cli.posts import warning
from tests.web.posts import LATER, POST, SOON, plan, set_state
from tests.web.test_plain_words import visible

WEEKLY = warning("weekly", to='["beijing-weibo"]', when='cron = "0 9 * * 1"')


async def test_the_calendar_shows_what_is_filed_and_what_is_only_planned(site):
    """A month of the calendar has each post on its day.

    A repeating post is also shown in weeks without any filed post.
    """
    await plan(
        site, POST, WEEKLY, warning("distant", when="at = 2026-12-20T10:00:00+08:00")
    )
    client = await site.signed_in("viewer")
    page = (await client.get("/calendar")).text
    assert page.count('href="/posts/refund"') == 1
    assert re.findall(r'href="(/posts/weekly[^"]*)"', page) == ["/posts/weekly"]
    assert "2026 年 11 月" in page
    following = (await client.get("/calendar?month=2026-12")).text
    assert 'href="/posts/distant"' in following
    assert following.count('href="/posts/weekly"') == 5
    listed = (await client.get("/calendar/list?from=2026-12-20")).text
    assert listed.index('href="/posts/distant"') < listed.index('href="/posts/weekly"')
    assert (
        await client.get("/calendar?month=nonsense&day=9999-99-99")
    ).status_code == 200


async def test_a_week_shows_its_hours_and_the_gaps_between_them(site):
    """An entry of a week is at its hour.

    Empty hours before and after work are one line.
    """
    await plan(site, POST, warning("late", when="at = 2026-11-27T21:30:00+08:00"))
    client = await site.signed_in("viewer")
    page = (await client.get("/calendar/week?from=2026-11-25")).text
    hours = re.findall(r'<th scope="row">(\d\d):00', page)
    assert hours == ["00", *(f"{hour:02}" for hour in range(8, 18)), "18", "21", "22"]
    assert re.search(
        r'data-day="2026-11-27" data-hour="21"><a [^>]*href="/posts/late"', page
    )
    assert re.search(
        r'data-day="2026-11-25" data-hour="10"><a [^>]*href="/posts/refund"', page
    )


async def test_the_calendar_shows_some_accounts_alone(site):
    """The calendar shows the accounts of a platform, a region or one account, in each view.

    A viewer of some accounts only chooses among the same accounts.
    """
    await plan(site, POST, warning("second", to='["beijing-weibo"]', when=SOON), WEEKLY)
    client = await site.signed_in("viewer")
    limited = await site.signed_in("viewer@shanghai-tieba", name="远")
    found = {}
    for to in ("platform:tieba", "region:110000", "shanghai-weibo", "nonsense"):
        pages = [
            await client.get(f"/calendar{view}?to={to}")
            for view in ("", "/week", "/list")
        ]
        found[to] = [
            set(re.findall(r'href="/posts/(\w+)', page.text)) for page in pages
        ]
    month = (await client.get("/calendar?to=region:110000")).text
    choices = re.findall(
        r'<option value="([^"]+)"', (await limited.get("/calendar")).text
    )
    assert found == {
        "platform:tieba": [{"refund"}] * 3,
        "region:110000": [
            {"refund", "second", "weekly"},
            {"refund", "second"},
            {"refund", "second", "weekly"},
        ],
        "shanghai-weibo": [{"refund"}] * 3,
        "nonsense": [
            {"refund", "second", "weekly"},
            {"refund", "second"},
            {"refund", "second", "weekly"},
        ],
    }
    assert 'href="?month=2026-12&amp;to=region%3A110000"' in month
    assert 'href="/calendar/week?to=region%3A110000"' in month
    assert choices == ["platform:tieba", "region:310000", "shanghai-tieba"]


async def test_the_calendar_marks_holidays_and_clashes(site):
    """Public holidays are marked, and accounts with two posts at once are counted."""
    await plan(site, POST, warning("second", to='["beijing-weibo"]', when=SOON))
    client = await site.signed_in("viewer")
    assert "1 个账号同时 2 条" in (await client.get("/calendar?month=2026-11")).text
    october = (await client.get("/calendar?month=2026-10")).text
    assert october.count('class="off-day"') > 5
    assert 'class="work-day"' in october


async def test_a_break_is_marked_with_its_weekends(site):
    """The whole announced break is marked: in 2026 the Spring Festival is 15 to 23 February."""
    client = await site.signed_in("viewer")
    page = (await client.get("/calendar?month=2026-02")).text
    off = re.findall(r'data-day="2026-02-(\d\d)"(?:(?!</p>).)*class="off-day"', page)
    assert off == [str(day) for day in range(15, 24)]


@pytest.mark.parametrize(
    ("path", "is_said"),
    [
        ("/calendar?month=2026-11", False),
        ("/calendar?month=2026-12", True),
        ("/calendar/week?from=2098-10-01", True),
        ("/calendar/list?from=2098-10-01", True),
        ("/calendar?month=1999-10", False),
    ],
)
async def test_the_calendar_says_that_holidays_are_not_known_yet(
    site, monkeypatch, path, is_said
):
    """Next year's holidays are announced late; until then nothing looks like a plain day."""
    known = cron._working_calendar
    monkeypatch.setattr(
        cron, "_working_calendar", lambda year: known(year) if year == 2026 else None
    )
    page = (await (await site.signed_in("viewer")).get(path)).text
    assert ("年的放假安排还没有收录" in page) is is_said


async def test_the_calendar_of_one_account_counts_what_its_login_sends_elsewhere(site):
    """A clash and a full quota in one account's calendar count its whole login.

    They come from all accounts of the login that the visitor sees. Other logins stay out.
    """
    await plan(site, POST)
    await set_state(
        site,
        State.PENDING,
        "shanghai-weibo",
        login=site.application.settings.accounts["beijing-weibo"].login,
    )
    viewers = [
        await site.signed_in("viewer"),
        await site.signed_in("viewer@beijing-weibo", name="微"),
    ]
    pages = [
        (await client.get("/calendar?day=2026-11-25&to=beijing-weibo")).text
        for client in viewers
    ]
    other = (await viewers[0].get("/calendar?day=2026-11-25&to=beijing-tieba")).text
    assert ["1 个账号同时 2 条" in page for page in (*pages, other)] == [
        True,
        False,
        False,
    ]
    quotas = [
        re.findall(r"(\d+) / \d+", page.partition('id="quota"')[2])
        for page in (*pages, other)
    ]
    assert quotas == [["2"], ["1"], ["1"]]


async def test_an_account_that_will_fall_silent_is_named(site):
    """Unless something is planned on it before; a paused account is named in any case."""
    await plan(site, WEEKLY)
    await site.store.silence.update(site.application.settings.timezone)
    client = await site.signed_in("viewer")
    page = (await client.get("/calendar?month=2026-12")).text
    assert "上海 · 微博" in page.partition('id="silent"')[2]
    assert "北京 · 微博" not in page.partition('id="silent"')[2]
    await site.store.actions.pause(
        "account:beijing-weibo", named_person("王"), "换密码"
    )
    page = (await client.get("/calendar?month=2026-12")).text
    assert "北京 · 微博" in page.partition('id="silent"')[2]


async def test_what_people_did_is_found_in_the_audit(site):
    """The audit finds actions by person, by action, and by day.

    Each entry is a sentence that leads to its subject.
    """
    await plan(site, POST)
    await set_state(site, State.PUBLISHED, attempts=1)
    await site.store.actions.retract("refund", None, named_person("王"), "写错了")
    site.runtime.advance_time(timedelta(days=1))
    await site.store.actions.pause(
        "account:beijing-weibo", named_person("李"), "看一看"
    )
    client = await site.signed_in("viewer")
    page = (await client.get("/audit?by=王")).text
    assert 'href="/posts/refund"' in page
    assert "写错了" in page
    assert 'href="/accounts/beijing-weibo"' not in page
    later = (await client.get("/audit?from=2026-11-26")).text
    assert (
        'href="/accounts/beijing-weibo"' in later,
        'href="/posts/refund"' in later,
    ) == (
        True,
        False,
    )
    assert (
        'href="/accounts/beijing-weibo"'
        in (await client.get("/audit?event=paused")).text
    )
    assert "没有找到" in (await client.get("/audit?q=nothing&before=x")).text


async def test_the_audit_is_exported_for_people_and_for_verification(site):
    """The audit is exported for people and for verification.

    The table has a sentence an entry. The lines are the ones that `audit verify --file` reads.
    """
    await plan(site, POST)
    await site.store.actions.pause("all", named_person("=王"), "看一看")
    client = await site.signed_in("auditor")
    table = await client.get("/audit/export?as=csv&by=%3D王")
    assert re.fullmatch(
        r'attachment; filename="audit-[\d-]+\.csv"',
        table.headers["content-disposition"],
    )
    rows = list(csv.reader(io.StringIO(table.content.decode("utf-8-sig"))))
    assert len(rows) == 2
    assert rows[1][2] == "'=王"
    lines = (await client.get("/audit/export?as=jsonl")).text.splitlines()
    header, entries = json.loads(lines[0]), lines[1:]
    assert header["last"] - header["first"] + 1 == len(entries)


@pytest.mark.parametrize(
    "roles", [["viewer"], ["operator", "author"], ["auditor@beijing-weibo"]]
)
async def test_the_audit_is_exported_by_those_who_answer_for_it(site, roles):
    """The audit is exported only by people responsible for all of it.

    It has the words and names of all regions. A mere viewer, or a person with a part of the
    accounts, exports none of it.
    """
    client = await site.signed_in(*roles)
    assert "act-export" not in (await client.get("/audit")).text
    assert [
        (await client.get(f"/audit/export?as={form}")).status_code
        for form in ("csv", "jsonl")
    ] == [403, 403]
    assert (
        await (await site.signed_in("admin", name="administrator")).get("/audit/export")
    ).status_code == 200


async def test_one_act_on_many_accounts_is_one_line_of_the_audit(site):
    """One act on many accounts is one line, which unfolds into its entries.

    Another person's act, another reason, and the same act later have lines of their own.
    """
    accounts = sorted(site.application.settings.accounts)
    for key in accounts:
        await site.store.actions.pause(f"account:{key}", named_person("王"), "台风")
    await site.store.actions.pause("account:x", named_person("李"), "台风")
    await site.store.actions.pause("account:y", named_person("李"), "别的")
    site.runtime.advance_time(timedelta(minutes=1))
    await site.store.actions.pause("account:z", named_person("李"), "别的")
    page = (await (await site.signed_in("viewer")).get("/audit?event=paused")).text
    assert page.count("data-row") == 4
    assert f"等，一次 {len(accounts)} 项" in page
    parts = re.findall(r'data-testid="part-(\d+)"', page)
    assert len(parts) == len(accounts)
    assert parts == sorted(parts, key=int, reverse=True)
    assert all(f'href="/accounts/{key}"' in page for key in accounts)


@pytest.mark.long
async def test_an_act_on_150_accounts_leaves_room_for_what_came_before(site):
    """An act fills one line of a page, not three pages. The entries before it are on the same."""
    await site.store.actions.pause("all", named_person("李"), "看一看")
    site.runtime.advance_time(timedelta(minutes=1))
    for number in range(150):
        await site.store.actions.pause(f"account:{number}", named_person("王"), "台风")
    page = (await (await site.signed_in("viewer")).get("/audit?event=paused")).text
    assert page.count("data-row") == 2
    assert "act-earlier" not in page


async def test_a_role_on_some_accounts_sees_the_audit_of_those(site):
    """Entries about other accounts, and about posts as a whole, are left out."""
    await site.store.actions.pause("account:beijing-weibo", named_person("王"), "")
    await site.store.actions.pause("account:shanghai-weibo", named_person("王"), "")
    client = await site.signed_in("viewer@beijing-weibo")
    page = (await client.get("/audit")).text
    named = [f'href="/accounts/{key}-weibo"' in page for key in ("beijing", "shanghai")]
    assert named == [True, False]


async def test_search_finds_posts_accounts_regions_and_numbers(site):
    """A bulletin number leads straight to its delivery, within the visitor's accounts only."""
    [first, *_rest] = await plan(site, POST, warning("other", when=LATER))
    client = await site.signed_in("viewer")
    marker = derive_marker(first.key, first.account).code
    found = await client.get("/search", params={"q": f"〔{marker}〕"})
    assert found.headers["location"] == f"/deliveries/refund/once/{first.account}"
    assert "row-other" in (await client.get("/search?q=other")).text
    for typed in ("上海", "上海贴吧", "上海 · 贴吧"):
        page = await client.get("/search", params={"q": typed})
        assert "/accounts/shanghai-tieba" in page.text
    assert "没有找到" in (await client.get("/search?q=没有这样的东西")).text
    limited = await site.signed_in("viewer@shanghai-tieba", name="远")
    page = await limited.get("/search", params={"q": marker})
    assert page.status_code == 200


@pytest.mark.parametrize(
    ("typed", "is_found"),
    [
        ("jingtituikuankefu", True),
        ("tuikuan kefu", True),
        ("tkkf", True),
        ("kuankefu", True),
        ("uikuan", False),
        ("maochong", False),
    ],
)
async def test_a_post_is_found_by_the_pinyin_of_its_title(site, typed, is_found):
    """A part of a title is found from any syllable on, or by initials, in list and search."""
    await plan(site, warning("first", when=SOON))
    client = await site.signed_in("viewer@beijing-weibo")
    pages = [
        (await client.get(path, params={"q": typed})).text
        for path in ("/posts", "/search")
    ]
    assert ["row-first" in page for page in pages] == [is_found, is_found]


async def test_pinyin_finds_no_post_of_other_accounts(site):
    """A title that the visitor may not see is not found by its pinyin either."""
    await plan(site, warning("first", to='["shanghai-weibo"]', when=SOON))
    client = await site.signed_in("viewer@beijing-weibo")
    assert "row-first" not in (await client.get("/posts?q=jingti")).text


@pytest.mark.parametrize(
    ("typed", "is_found"),
    [
        ("chongqing", True),
        ("Chong Qing", True),
        ("cq", True),
        ("zhongqing", False),
        ("c", False),
    ],
)
def test_a_region_is_found_by_its_pinyin(typed, is_found):
    """Whole, begun, or by the first letters of its syllables; one letter finds nothing."""
    letters = read_letters(typed)
    assert bool(letters and begins_with("重庆", letters)) is is_found


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
@pytest.mark.parametrize(
    "path",
    [
        "/accounts", "/accounts?view=list", "/accounts/beijing-weibo", "/assist", "/calendar",
        "/calendar/week", "/calendar/list", "/audit?jobs=1", "/search?q=refund", "/help",
    ],
)  # fmt: skip
async def test_no_text_is_missing(site, lang, path):
    """Neither a code nor an unfilled fact is shown."""
    await plan(site, POST, WEEKLY)
    await site.store.silence.update(site.application.settings.timezone)
    await site.store.actions.pause(
        "account:beijing-weibo", named_person("王"), "换密码"
    )
    await site.store.actions.set_mode("beijing-tieba", None, named_person("王"), "x")
    client = await site.signed_in("operator", "author", name="王")
    client.cookies.set("publisher_lang", lang)
    answer = await client.get(path)
    words = re.sub(r"<details>.*?</details>|<[^>]*>", " ", answer.text, flags=re.DOTALL)
    assert answer.status_code == 200
    assert not re.findall(
        r"\b(?:pages|web|column|event|mode|health|state)_\w+|\{\w+\}", words
    )


async def test_the_audit_counts_accounts_and_has_no_codes(site):
    """One order on a post counts its accounts, not its own entry; choices and reasons are words."""
    wang = named_person("王")
    await plan(site, POST)
    await set_state(site, State.PUBLISHED, attempts=1)
    await site.store.actions.retract("refund", None, named_person("王"), "有误")

    def write(unit):
        write_audit(
            unit,
            site.runtime.now(),
            wang,
            event="sign_in_link_failed",
            subject="account:beijing-weibo",
            detail={"reason": "login_secret_elsewhere"},
        )
        write_audit(
            unit,
            site.runtime.now(),
            wang,
            event="resolved",
            subject="refund@beijing-weibo",
        )

    await site.store.database.write(write)
    client = await site.signed_in("viewer")
    page = (await client.get("/audit")).text
    assert "《警惕“退款客服”诈骗》，4 个账号" in re.sub(r"\s+", " ", page)
    text = visible(page)
    assert "login_secret_elsewhere" not in text
    assert "人工认定结果" in text
    assert "人工认定为“" not in re.findall(r"<select.*?</select>", page, re.DOTALL)[1]
