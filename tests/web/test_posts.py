"""Posts and deliveries on pages: their display, and people's actions there."""

import asyncio
import html
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pyotp
import pytest

from publisher.app.application import open_application
from publisher.config import Environment
from publisher.domain.delivery import State
from publisher.domain.errors import RefusedError
from publisher.domain.post import derive_marker
from publisher.engine.decisions import decide, named_person
from publisher.engine.post_check import check_stored
from publisher.store.db.intent_journal import JournalRecord
from publisher.store.db.rows import raise_alert
from publisher.store.lost_attempts import RECOVERY_MAINTENANCE, recover
from publisher.web.kit import checks as kit_checks
from publisher.web.kit.caches import TaskCache
from publisher.web.posts import post
from tests.cli.posts import warning
from tests.web.posts import LATER, POST, SOON, hidden_fields, plan, set_state
from tests.web.test_plain_words import visible
from tests.web.test_sign_in import add_activated
from tests.web.test_write import fields_of

PATH = "/posts/refund"


async def test_a_post_shows_each_account_with_its_text(site):
    """Before the time of a post its texts come first, with the number of accounts.

    The bulletin number is in the texts.
    """
    deliveries = await plan(site, POST)
    client = await site.signed_in("viewer")
    page = (await client.get(PATH)).text
    assert page.index('id="previews"') < page.index('id="deliveries"')
    assert all(
        f'data-testid="delivery-refund-{item.account}"' in page for item in deliveries
    )
    assert derive_marker(deliveries[0].key, "beijing-weibo").code in page
    assert "act-retract" not in page
    assert "act-cancel" not in page


@pytest.mark.parametrize("reason", ["auth", "account", "wrong_secret"])
async def test_a_refused_sign_in_is_not_put_as_a_question_for_the_post(site, reason):
    """Nothing was sent: there is nothing to recognise, and no warning of a second post."""
    await plan(site, POST)
    await set_state(site, State.HELD, "shanghai-tieba", reason=reason, attempts=1)
    client = await site.signed_in("operator")
    path = "/deliveries/refund/once/shanghai-tieba"
    for page in [(await client.get(each)).text for each in (path, PATH)]:
        offered = re.findall(r'data-testid="act-(resolve-[\w-]+)"', page)
        assert offered == ["resolve-resend", "resolve-cancel"]
        assert "恢复好了，现在发" in page
        assert "就是这一条" not in page
        assert "不是，再发" not in page
    assert "出现两条" not in (await client.get(f"{path}/resolve?ruling=resend")).text
    assert (await client.get(f"{path}/resolve?ruling=published")).status_code == 409
    assert "没发出去，账号要恢复" in (await client.get("/inbox")).text
    await set_state(site, State.HELD, "shanghai-tieba", parts_done=1)
    assert "act-resolve-published" in (await client.get(path)).text


async def test_an_operator_renews_a_sign_in_by_a_button_and_not_by_a_command(site):
    """The steps name buttons of the page; nothing was sent, so that nothing is deleted."""
    await plan(site, POST)
    await set_state(site, State.HELD, "beijing-weibo", reason="auth", attempts=2)
    client = await site.signed_in("operator", "admin", "approver")
    page = (await client.get("/deliveries/refund/once/beijing-weibo")).text
    assert "有“发送授权链接”的，按它" in page
    assert "publisher login" not in page
    assert 'data-testid="act-retract"' not in page


async def test_what_was_not_sent_and_waits_is_not_offered_for_deletion(site):
    """A refused sign-in leaves a post in the queue: it can be cancelled, and nothing deleted."""
    await plan(site, POST)
    await set_state(site, State.DUE, "beijing-weibo", attempts=1, reason="weibo_21327")
    client = await site.signed_in("approver")
    path = "/deliveries/refund/once/beijing-weibo"
    assert 'data-testid="act-retract"' not in (await client.get(path)).text
    await set_state(site, State.DUE, "beijing-weibo", parts_done=1, extra_parts=2)
    assert 'data-testid="act-retract"' in (await client.get(path)).text


async def test_what_needs_a_person_stands_first_with_the_words_of_why(site):
    """A held delivery is opened, explained as `why` does, and nobody is sent to a terminal."""
    await plan(site, POST)
    await set_state(site, State.PUBLISHED, attempts=1)
    await set_state(
        site, State.HELD, "shanghai-tieba", reason="uncheckable", attempts=1
    )
    client = await site.signed_in("operator")
    page = (await client.get(PATH)).text
    assert page.index('id="deliveries"') < page.index('id="previews"')
    assert 'data-testid="delivery-refund-shanghai-tieba"' in page
    assert 'data-testid="delivery-refund-beijing-weibo"' not in page
    assert "读取账号无法核实" in page
    assert "按“就是这一条”" in page
    assert "publisher resolve" not in page
    everything = (await client.get(f"{PATH}?tab=all")).text
    assert 'data-testid="delivery-refund-beijing-weibo"' in everything


async def test_a_map_of_one_platform_leads_to_its_accounts(site):
    """A map of one platform leads to its accounts.

    A task on another platform neither hides them nor is counted. One link leads to all platforms.
    """
    await plan(site, POST)
    await set_state(site, State.HELD, "beijing-tieba", reason="captcha")
    client = await site.signed_in("viewer")
    page = (await client.get(f"{PATH}?platform=weibo")).text
    rows = re.findall('data-testid="delivery-refund-([a-z-]+)"', page)
    assert sorted(rows) == ["beijing-weibo", "shanghai-weibo"]
    tabs = {
        name: (html.unescape(path), number)
        for path, name, number in re.findall(
            r'<a href="([^"]+)"[^>]* data-testid="tab-(\w+)">\D+(\d+)</a>', page
        )
    }
    assert tabs["all"] == (f"{PATH}?tab=all&platform=weibo", "2")
    assert tabs["action"] == (f"{PATH}?tab=action&platform=weibo", "0")
    assert f'href="{PATH}?tab=all" data-testid="all-platforms"' in page
    assert (
        "delivery-refund-beijing-tieba"
        in (await client.get(f"{PATH}?platform=nowhere")).text
    )


async def test_many_accounts_that_say_the_same_are_folded(site, monkeypatch):
    """Once one of them says something else the list stands open, and so do alerts alike in one."""
    await plan(site, POST)
    monkeypatch.setattr(post, "MAX_ALIKE", 3)
    await set_state(site, State.PUBLISHED, attempts=1)

    def write(unit):
        for account in ("beijing-weibo", "shanghai-weibo"):
            facts = {"post": "refund", "account": account, "reason": "weibo_20021"}
            raise_alert(unit, site.runtime.now(), "failed", f"refund@{account}", facts)

    await site.store.database.write(write)
    viewer = await site.signed_in("viewer")
    alike = (await viewer.get(PATH)).text
    opened = (await viewer.get(f"{PATH}?open=beijing-weibo")).text
    await set_state(site, State.UNKNOWN, "beijing-weibo")
    unlike = (await viewer.get(f"{PATH}?tab=all")).text
    folded = ['data-testid="folded-lines"' in page for page in (alike, opened, unlike)]
    assert folded == [True, False, False]
    assert "逐个账号看（4 个）" in alike
    assert alike.count("未能发到") == 1
    assert "（另有 1 条一样的）" in alike


async def test_a_post_on_very_many_accounts_lists_them_in_parts(site, monkeypatch):
    """Each account is on one of the pages, and an opened one is on the page that is shown."""
    await plan(site, POST)
    monkeypatch.setattr(post, "MAX_LINES", 3)
    viewer = await site.signed_in("viewer")

    async def read_rows(query):
        page = (await viewer.get(f"/posts/refund?{query}")).text
        return page, re.findall(r'data-testid="delivery-refund-([\w-]+)"', page)

    page, first = await read_rows("tab=all")
    assert "第 1 到 3 个，共 4 个账号" in page
    [later] = re.findall(r'href="([^"]+)" data-testid="act-next-lines"', page)
    page, rest = await read_rows(html.unescape(later).partition("?")[2])
    assert len(first) == 3
    assert len({*first, *rest}) == 4
    assert "act-next-lines" not in page
    _page, opened = await read_rows(f"tab=all&open={rest[0]}")
    assert opened == rest
    for odd in ("-1", "x", "9" * 400):
        assert (await read_rows(f"tab=all&from={odd}"))[1] in (first, rest)


async def test_a_post_is_checked_again_within_minutes(site, monkeypatch):
    """A post is checked again within minutes.

    Its texts are rendered once for all viewers in between, independent of the cache of live pages.
    """
    checks, numbers = [], []

    async def check(*arguments):
        checks.append(arguments)
        return await check_stored(*arguments)

    monkeypatch.setattr(kit_checks, "check_stored", check)
    await plan(site, POST)
    client = await site.signed_in("viewer")
    for minutes in (0, 0, 5):
        site.app.state.site.caches.live = TaskCache()
        site.runtime.advance_time(timedelta(minutes=minutes))
        await client.get(PATH)
        numbers.append(len(checks))
    assert numbers == [1, 1, 2]


async def test_a_post_that_is_not_planned_yet_names_its_accounts(site):
    """A post that is not planned yet names its accounts.

    The head and the checks have the number of the post's accounts that the visitor sees.
    """
    await plan(
        site,
        warning(
            "later", to='["platform:weibo"]', when="at = 2027-11-25T10:00:00+08:00"
        ),
    )
    all_seen = await site.signed_in("viewer")
    some_seen = await site.signed_in("viewer@region:110000", name="京")
    pages = [
        (await client.get("/posts/later")).text for client in (all_seen, some_seen)
    ]
    assert ["<span>2 个账号</span>" in page for page in pages] == [True, False]
    assert ["<span>1 个账号</span>" in page for page in pages] == [False, True]
    assert ["检查了 2 份文稿" in page for page in pages] == [True, False]
    assert ["检查了 1 份文稿" in page for page in pages] == [False, True]


async def test_a_post_says_what_its_checks_have_found(site):
    """The warnings of `check`, or that nothing was found; the open alerts stand by themselves."""
    await plan(
        site,
        POST,
        warning("other", to='["beijing-weibo"]', when=SOON).replace(
            "level_basis", "# level_basis"
        ),
    )
    client = await site.signed_in("viewer")
    fine, other = [
        (await client.get(f"/posts/{post}")).text for post in ("refund", "other")
    ]
    facts = {"post": "refund", "number": "1"}
    at = site.runtime.now()
    await site.store.database.write(
        lambda unit: raise_alert(unit, at, "occurrences_missed", "refund", facts)
    )
    alerted = (await client.get(PATH)).text
    found = [
        re.search(r'data-testid="checks">(.*?)</section>', page, re.DOTALL)[1]
        for page in (fine, other)
    ]
    assert ["没有发现问题" in card for card in found] == [True, False]
    assert ["1 个提醒" in card for card in found] == [False, True]
    assert "依据" in found[1]
    alerts = r'id="post-alerts" aria-labelledby="alerts-title"(.*?)</section>'
    cards = [re.search(alerts, page, re.DOTALL)[1] for page in (fine, alerted)]
    assert [card.startswith(" hidden") for card in cards] == [True, False]
    assert "错过的 1 次" in cards[1]


async def test_a_retraction_takes_three_clicks_and_names_its_number(site):
    """A retraction takes three clicks: the post, the button, and the number in it.

    Then each account is listed, with the proof of its removal.
    """
    await plan(site, POST)
    await set_state(
        site, State.PUBLISHED, "beijing-weibo", "shanghai-weibo", attempts=1
    )
    client = await site.signed_in("author", name="王")
    page = (await client.get(PATH)).text
    assert "从 2 个账号删掉这一条？" in page
    assert "还没发的 2 个不再发" in page
    fields = hidden_fields(page, f"{PATH}/retract")
    assert (await client.post(f"{PATH}/retract", data=fields)).status_code == 422
    answer = await client.post(
        f"{PATH}/retract", data={**fields, "reason": "写错了"}, follow_redirects=True
    )
    assert 'data-testid="page-retraction"' in answer.text
    assert "正在删 2 条" in answer.text
    states = {
        item.account: item.state
        for item in await site.store.queries.deliveries("refund")
    }
    assert states["beijing-weibo"] is State.RETRACTING
    assert states["shanghai-tieba"] is State.CANCELLED
    [entry] = await site.store.queries.audit_history("refund")
    assert (entry.event, entry.name, entry.detail["reason"]) == (
        "retraction_requested",
        "王",
        "写错了",
    )


async def test_a_retraction_drawn_before_more_accounts_were_added_does_nothing(site):
    """A retraction drawn before more accounts were added does nothing.

    A form that has not shown all that it would take down is refused with the changes.
    """
    await plan(site, warning("refund", to='["platform:weibo"]', when=SOON))
    client = await site.signed_in("author")
    await set_state(site, State.PUBLISHED, attempts=1)
    fields = hidden_fields((await client.get(PATH)).text, f"{PATH}/retract")
    await plan(
        site, warning("refund", to='["platform:weibo", "beijing-tieba"]', when=SOON)
    )
    answer = await client.post(f"{PATH}/retract", data={**fields, "reason": "写错了"})
    assert answer.status_code == 409
    assert "又多出 1 个账号" in answer.text
    assert await site.store.queries.deliveries(states=[State.RETRACTING]) == []


async def test_a_post_in_flight_can_still_be_taken_down(site):
    """A post in flight can still be taken down: the form covers its progress."""
    await plan(site, POST)
    client = await site.signed_in("author")
    await set_state(site, State.PUBLISHED, "beijing-weibo", attempts=1)
    fields = hidden_fields((await client.get(PATH)).text, f"{PATH}/retract")
    await set_state(site, State.PUBLISHED, attempts=1)
    answer = await client.post(f"{PATH}/retract", data={**fields, "reason": "写错了"})
    assert answer.status_code == 303
    assert len(await site.store.queries.deliveries(states=[State.RETRACTING])) == 4


async def test_an_author_alone_does_not_delete_from_all_accounts(site):
    """In live operation an author without a second factor is refused: it takes another person.

    One account is still the author's, but not one after another. The correction, which can follow
    only while the post is there, is offered first.
    """
    live = replace(site.application.settings, environment=Environment.LIVE)
    site.app.state.site.application = replace(site.application, settings=live)
    await plan(site, POST)
    await set_state(site, State.PUBLISHED, attempts=1)
    author = await site.signed_in("author", name="王")
    page = (await author.get(PATH)).text
    fields = {**hidden_fields(page, f"{PATH}/retract"), "reason": "写错了"}
    refused = await author.post(f"{PATH}/retract", data=fields)
    left = await site.store.queries.deliveries(states=[State.RETRACTING])
    one, next_one = [
        await author.post(f"/deliveries/refund/once/{account}/retract", data=fields)
        for account in ("beijing-weibo", "shanghai-weibo")
    ]
    operator = await site.signed_in("operator", name="李")
    whole = await operator.post(f"{PATH}/retract", data=fields)
    assert (refused.status_code, left) == (409, [])
    assert "由另一个人来删" in refused.text
    assert (one.status_code, next_one.status_code) == (303, 409)
    assert whole.status_code == 303
    assert f'href="{PATH}/correct" data-testid="act-offer"' in page


async def test_an_author_alone_does_not_delete_one_post_after_another(site):
    """Posts with one account each, as the regions of a family, count together for an hour."""
    live = replace(site.application.settings, environment=Environment.LIVE)
    site.app.state.site.application = replace(site.application, settings=live)
    to = '["beijing-weibo"]'
    await plan(site, *(warning(name, SOON, to) for name in ("first", "second")))
    for name in ("first", "second"):
        await set_state(site, State.PUBLISHED, post=name, attempts=1)
    author = await site.signed_in("author", name="王")
    pages = {
        name: (await author.get(f"/posts/{name}")).text for name in ("first", "second")
    }

    async def retract(name):
        fields = hidden_fields(pages[name], f"/posts/{name}/retract")
        answer = await author.post(
            f"/posts/{name}/retract", data={**fields, "reason": "写错了"}
        )
        return answer.status_code

    both = await asyncio.gather(retract("first"), retract("second"))
    assert sorted(both) == [303, 409]
    assert len(await site.store.queries.deliveries(states=[State.RETRACTING])) == 1
    for _part in range(3):
        site.runtime.advance_time(timedelta(minutes=21))
        await author.get("/today")  # keeps the session
    assert await retract(["first", "second"][both.index(409)]) == 303


@pytest.mark.long
async def test_a_retraction_from_many_accounts_takes_a_code(site):
    """A person with a second factor repeats it, and keeps the typed reason until then."""
    secret = await add_activated(site, "王", "author", with_factor=True)
    await plan(site, POST)
    await set_state(site, State.PUBLISHED, attempts=1)
    session = await site.store.sign_ins.start_session(
        "王", "address 127.0.0.1", named_person("王")
    )
    client = site.client({"publisher_session": session})
    page = (await client.get(PATH)).text
    fields = {**hidden_fields(page, f"{PATH}/retract"), "reason": "写错了"}
    wrong = await client.post(f"{PATH}/retract", data={**fields, "code": "000000"})
    left = await site.store.queries.deliveries(states=[State.RETRACTING])
    site.runtime.advance_time(timedelta(minutes=1))
    code = pyotp.TOTP(secret).at(site.runtime.now())
    done = await client.post(f"{PATH}/retract", data={**fields, "code": code})
    assert 'data-testid="field-code"' in page
    assert (wrong.status_code, left, done.status_code) == (422, [], 303)
    assert 'value="写错了"' in wrong.text
    assert 'data-testid="problem-code"' in wrong.text
    assert len(await site.store.queries.deliveries(states=[State.RETRACTING])) == 4


async def test_a_role_on_some_accounts_takes_down_nothing_else(site):
    """A role on some accounts takes down nothing else.

    A person with permission for one account of a post is refused the whole post, but not that
    account.
    """
    await plan(site, POST)
    await set_state(site, State.PUBLISHED, attempts=1)
    client = await site.signed_in("author@beijing-weibo")
    page = (await client.get(f"{PATH}?tab=all")).text
    assert 'data-testid="delivery-refund-beijing-weibo"' in page
    assert "shanghai" not in page
    assert "act-retract" not in page
    newest = str((await site.store.progress.post("refund")).newest)
    whole = await client.post(f"{PATH}/retract", data={"newest": newest, "reason": "x"})
    other = await client.post(
        "/deliveries/refund/once/shanghai-weibo/retract",
        data={"newest": newest, "reason": "x"},
    )
    own = await client.post(
        "/deliveries/refund/once/beijing-weibo/retract",
        data={"newest": newest, "reason": "x"},
    )
    assert (whole.status_code, other.status_code, own.status_code) == (403, 404, 303)
    taken = await site.store.queries.deliveries(states=[State.RETRACTING])
    assert [item.account for item in taken] == ["beijing-weibo"]


async def test_a_delivery_shows_the_text_that_is_sent(site):
    """With its bulletin number, as the platform shows it; for no account of another region."""
    await plan(site, POST)
    client = await site.signed_in("viewer@beijing-tieba")
    page = (await client.get("/deliveries/refund/once/beijing-tieba")).text
    [looks] = re.findall(
        r'<figure.*?data-testid="preview-tieba".*?</figure>', page, re.DOTALL
    )
    key = (await site.store.queries.deliveries("refund"))[0].key
    assert derive_marker(key, "beijing-tieba").code in looks
    assert (
        await client.get("/deliveries/refund/once/shanghai-tieba")
    ).status_code == 404


async def test_two_people_decide_that_a_post_is_there(site):
    """The first gives the address and waits; only another one can confirm it."""
    await plan(site, POST)
    await set_state(site, State.HELD, "beijing-tieba", reason="uncheckable", attempts=1)
    path = "/deliveries/refund/once/beijing-tieba"
    first = await site.signed_in("operator", name="王")
    second = await site.signed_in("operator", name="李")
    fields = hidden_fields(
        (await first.get(path)).text, f"{path}/resolve?ruling=published"
    )
    assert (
        await first.post(f"{path}/resolve", data={**fields, "reason": "看到了"})
    ).status_code == 422
    said = {**fields, "reason": "看到了", "url": "https://example.com/p/1"}
    assert (await first.post(f"{path}/resolve", data=said)).status_code == 303
    assert "act-resolve-confirm" not in (await first.get(path)).text
    page = (await second.get(path)).text
    assert "王 说在 https://example.com/p/1 看到了" in page
    fields = hidden_fields(page, f"{path}/resolve?ruling=confirm")
    assert (
        await second.post(f"{path}/resolve", data={**fields, "reason": "也看到了"})
    ).status_code == 303
    [delivery] = [
        item
        for item in await site.store.queries.deliveries("refund")
        if item.account == "beijing-tieba"
    ]
    assert delivery.state is State.PUBLISHED
    assert delivery.receipt.is_manually_confirmed


async def test_a_ruling_on_what_has_changed_meanwhile_does_nothing(site):
    """Two people may open the same delivery; the second one's form says that it has changed."""
    await plan(site, POST)
    await set_state(site, State.HELD, "beijing-tieba", reason="uncheckable", attempts=1)
    path = "/deliveries/refund/once/beijing-tieba"
    client = await site.signed_in("operator")
    fields = hidden_fields(
        (await client.get(path)).text, f"{path}/resolve?ruling=resend"
    )
    await set_state(site, State.PUBLISHED, "beijing-tieba", reason=None)
    answer = await client.post(f"{path}/resolve", data={**fields, "reason": "没有"})
    assert answer.status_code == 409
    assert "已经变了" in answer.text
    assert len(await site.store.queries.deliveries(states=[State.PUBLISHED])) == 1


async def test_what_is_said_of_an_earlier_state_is_not_left_to_be_confirmed(site):
    """Another person has decided a moment before: nothing is stored that somebody could confirm."""
    await plan(site, POST)
    await set_state(site, State.HELD, "beijing-tieba", reason="uncheckable", attempts=1)
    [seen] = [
        item
        for item in await site.store.queries.deliveries("refund")
        if item.account == "beijing-tieba"
    ]
    await decide(
        site.store, seen, "resend", by=site.actor, reason="没有", version=seen.version
    )
    with pytest.raises(RefusedError, match="changed_meanwhile"):
        await decide(
            site.store,
            seen,
            "published",
            by=site.actor,
            reason="看到了",
            url="https://a.example/1",
            version=seen.version,
        )
    assert await site.store.actions.confirmation_request(seen.id) is None


async def test_a_post_is_paused_resumed_and_cancelled(site):
    """Pause, resumption and cancellation of a post each ask with numbers.

    Each reports its effect afterwards.
    """
    await plan(site, POST)
    client = await site.signed_in("operator")
    paused = await client.post(
        f"{PATH}/pause", data={"reason": "等一等"}, follow_redirects=True
    )
    assert "已暂停这一条" in paused.text
    assert [pause.scope for pause in await site.store.queries.pauses()] == [
        "post:refund"
    ]
    fields = hidden_fields(paused.text, f"{PATH}/resume")
    assert (await client.post(f"{PATH}/resume", data=fields)).status_code == 303
    assert (await client.post(f"{PATH}/resume", data=fields)).status_code == 409
    fields = hidden_fields((await client.get(PATH)).text, f"{PATH}/cancel")
    done = await client.post(
        f"{PATH}/cancel", data={**fields, "reason": "不需要了"}, follow_redirects=True
    )
    assert "已撤回，4 个不再发" in done.text
    assert {item.state for item in await site.store.queries.deliveries("refund")} == {
        State.CANCELLED
    }


async def test_a_reason_that_is_spelt_like_a_code_stays_what_was_typed(site):
    """It is kept in quotation marks, so that no page shows the text of the code instead."""
    client = await site.signed_in("operator")
    await client.post("/pause", data={"reason": "timeout"})
    assert [pause.reason for pause in await site.store.queries.pauses()] == [
        "“timeout”"
    ]
    assert "“timeout”" in (await client.get("/resume")).text


async def test_only_the_pause_that_was_shown_is_lifted(site):
    """Only the displayed pause is lifted.

    Neither the page, nor the button to take a pause back, lifts one that somebody ordered since.
    """
    client = await site.signed_in("operator")
    paused = await client.post("/pause", data={"reason": "演练"}, follow_redirects=True)
    page = (await client.get("/resume")).text
    site.runtime.advance_time(timedelta(minutes=1))
    await site.store.actions.pause("all", named_person("王"), "机房起火")
    stale = [hidden_fields(paused.text, "/resume"), fields_of(page), {}]
    answers = [
        (await client.post("/resume", data=fields)).status_code for fields in stale
    ]
    assert answers == [409, 409, 409]
    assert [pause.reason for pause in await site.store.queries.pauses()] == ["机房起火"]
    assert (
        await client.post("/resume", data=fields_of((await client.get("/resume")).text))
    ).status_code == 303
    assert await site.store.queries.pauses() == []


async def test_what_failed_is_sent_again(site):
    """As a new occurrence; a second click finds the first one's."""
    await plan(site, POST)
    await set_state(site, State.FAILED, reason="rejected", attempts=1)
    client = await site.signed_in("author")
    path = "/deliveries/refund/once/beijing-weibo"
    fields = hidden_fields((await client.get(path)).text, f"{path}/resend")
    first = await client.post(f"{path}/resend", data={**fields, "reason": "已解决"})
    second = await client.post(f"{path}/resend", data={**fields, "reason": "已解决"})
    assert (first.status_code, second.status_code) == (303, 409)
    assert len(await site.store.queries.deliveries("refund", "beijing-weibo")) == 2


async def test_f105_the_page_offers_the_present_text_of_a_post_filed_with_another(site):
    """F105: a post's page offers its present text where another text was filed.

    The page says so, with a button, once the daemon has found that another text would come now.
    """
    await plan(site, POST)
    client = await site.signed_in("author")
    assert "act-refresh" not in (await client.get(PATH)).text
    await site.store.system_alerts.keep_outdated_texts({"refund": "beijing-weibo"}, ())
    page = (await client.get(PATH)).text
    assert "act-refresh" in page
    assert "发出去的仍是登记时的" in page
    fields = hidden_fields(page, f"{PATH}/refresh")
    assert (await client.post(f"{PATH}/refresh", data=fields)).status_code == 303
    assert "文字和现在的一样" in (await client.get(PATH)).text


async def test_a_retraction_counts_what_was_sent_again(site):
    """A retraction counts each time a post was sent.

    An account is listed once, with its newest delivery.
    """
    await plan(site, POST)
    await set_state(site, State.PUBLISHED, attempts=1)
    await set_state(site, State.REMOVED, "beijing-weibo", attempts=1)
    client = await site.signed_in("author")
    path = "/deliveries/refund/once/beijing-weibo"
    fields = hidden_fields((await client.get(path)).text, f"{path}/resend")
    await client.post(f"{path}/resend", data={**fields, "reason": "再发"})
    await set_state(site, State.PUBLISHED, "beijing-weibo", attempts=1)
    page = (await client.get(f"{PATH}?tab=all")).text
    assert "从 5 个账号删掉这一条？" in page
    assert page.count('data-testid="delivery-refund-') == 4
    fields = hidden_fields(page, f"{PATH}/retract")
    done = await client.post(
        f"{PATH}/retract", data={**fields, "reason": "写错了"}, follow_redirects=True
    )
    assert done.text.count('data-testid="delivery-refund-') == 5


async def test_a_dashboard_starts_while_a_host_still_compares_its_journal(
    site, monkeypatch
):
    """People look and stop after a restore; other commands that may cause posts are refused."""

    def refuse(_url):
        raise RefusedError("waiting_for_workers", workers="host:b")

    monkeypatch.setattr("publisher.app.open_store.check_journals_compared", refuse)
    settings, runtime = site.application.settings, site.runtime
    opened = open_application(settings, runtime, can_send=False, is_dashboard=True)
    async with opened as application:
        assert await application.store.queries.pauses() == []
    with pytest.raises(RefusedError, match="waiting_for_workers"):
        async with open_application(settings, runtime, can_send=False):
            pass


async def test_nothing_is_sent_while_the_database_may_lack_what_was_sent(
    site, monkeypatch
):
    """While a worker's journal is still to be compared, no resumption or resend begins.

    Stopping always works.
    """

    def refuse(_url):
        raise RefusedError("waiting_for_workers", workers="host:b")

    await plan(site, POST)
    await set_state(
        site, State.HELD, "beijing-tieba", reason="uncheckable", attempts=1, readbacks=1
    )
    await site.store.actions.pause("all", named_person("王"), "")
    client = await site.signed_in("operator")
    path = "/deliveries/refund/once/beijing-tieba"
    fields = hidden_fields(
        (await client.get(path)).text, f"{path}/resolve?ruling=resend"
    )
    monkeypatch.setattr("publisher.app.open_store.check_journals_compared", refuse)
    resumed = await client.post(
        "/resume", data=fields_of((await client.get("/resume")).text)
    )
    sent = await client.post(f"{path}/resolve", data={**fields, "reason": "再发"})
    assert (resumed.status_code, sent.status_code) == (409, 409)
    assert [pause.scope for pause in await site.store.queries.pauses()] == ["all"]
    given_up = await client.post(
        f"{path}/resolve", data={**fields, "ruling": "cancel", "reason": "不发了"}
    )
    assert given_up.status_code == 303
    [held] = [
        item
        for item in await site.store.queries.deliveries("refund")
        if item.account == "beijing-tieba"
    ]
    assert held.state is State.CANCELLED


async def test_posts_are_listed_and_found(site):
    """Posts are found by words and by state; a missing post is reported as missing."""
    await plan(site, POST, warning("other", when=LATER))
    await set_state(site, State.HELD, "beijing-tieba", reason="captcha")
    client = await site.signed_in("viewer")
    page = (await client.get("/posts")).text
    assert page.index("row-other") < page.index("row-refund")
    held = (await client.get("/posts?state=action")).text
    assert ("row-refund" in held, "row-other" in held) == (True, False)
    assert "row-other" in (await client.get("/posts?q=OTHER")).text
    assert (
        "没有找到" in (await client.get("/posts?q=%25%25&state=nonsense&before=x")).text
    )
    assert (await client.get("/posts/none")).status_code == 404


async def test_a_post_that_only_the_journal_knows_is_no_missing_post(site):
    """After a restore its page names the account to look at, to those who see that account."""
    call = JournalRecord(
        delivery=9,
        attempt=1,
        fencing_token=1,
        rendered_hash="f",
        at="2026-11-25T01:00:00+00:00",
        post="lost",
        occurrence="once",
        account="beijing-weibo",
        part=0,
        identity="1",
        method="",
    )
    store = site.store
    await store.database.write(
        lambda unit: recover(store, unit, [call], RECOVERY_MAINTENANCE)
    )
    client = await site.signed_in("viewer")
    for path in ("/posts/lost", "/deliveries/lost/once/beijing-weibo"):
        page = await client.get(path)
        assert page.status_code == 404
        assert "已经有了就不用再发" in page.text
        assert "“lost”在 北京 · 微博" in visible(page.text)
    elsewhere = await site.signed_in("viewer@shanghai-tieba", name="远")
    assert "已经有了" not in (await elsewhere.get("/posts/lost")).text


async def test_all_texts_can_be_compared(site):
    """All texts can be compared.

    Texts that differ in facts of regions alone count as one. An article is isolated in its own
    response.
    """
    await plan(site, warning("refund", to='["all"]', when=SOON))
    client = await site.signed_in("viewer")
    page = (await client.get(f"{PATH}/texts?a=beijing-weibo&b=shanghai-weibo")).text
    assert "各地只有通报编号和地区资料不同" in page
    assert "<ins>" in page
    [address, *_rest] = re.findall(
        r'src="(/articles/\w+)"', (await client.get(PATH)).text
    )
    article = await client.get(address)
    assert "sandbox" in article.headers["content-security-policy"]
    assert article.status_code == 200
    limited = await site.signed_in("viewer@shanghai-tieba", name="远")
    assert (await limited.get(address)).status_code == 404


@pytest.mark.long
@pytest.mark.parametrize("lang", ["zh_CN", "en"])
async def test_no_text_is_missing(site, lang):
    """Neither a code nor an unfilled fact is shown in any state of a delivery."""
    await plan(site, POST, warning("other", to='["all"]', when=LATER))
    client = await site.signed_in("operator", "author", name="王")
    for state in State:
        await set_state(
            site,
            state,
            "beijing-tieba",
            reason="captcha" if state is State.HELD else None,
            attempts=1,
        )
        for path in (
            PATH,
            f"{PATH}?tab=all",
            "/deliveries/refund/once/beijing-tieba",
            "/posts",
            "/posts/other",
        ):
            answer = await client.get(
                path, params={"lang": lang} if "?" not in path else None
            )
            words = re.sub(r"<[^>]*>", " ", answer.text)
            assert answer.status_code == 200
            assert not re.search(
                r"\b(?:pages|web|column|why|state|hold)_\w+|\{\w+\}", words
            ), (
                path,
                state,
            )


@pytest.mark.parametrize(
    ("when", "repeats"),
    [("at = 2099-01-05T09:00:00", False), ('cron = "0 9 * * *"', True)],
)
async def test_a_correction_of_a_repeating_post_says_that_it_ends(
    site, when, *, repeats
):
    """The page of a correction says that a repeating post ends, as `correct` does.

    It says so before anything is sent. `correct` is the command on the command line.
    """
    await plan(site, warning("refund", when))
    client = await site.signed_in("operator")
    page = (await client.get(f"{PATH}/correct")).text
    assert ("以后的场次也都不发了" in page) is repeats


RECEIPT = {
    "remote_id": "1",
    "url": "https://weibo.com/1/a",
    "published_at": datetime(2026, 11, 25, tzinfo=UTC),
}


async def test_the_addresses_of_a_post_stand_in_one_place(site):
    """Each account where a post is published has its address, and all can be copied at once.

    The text has one line each. In a drill an address leads to the simulator, not to the platform.
    """
    await plan(site, POST)
    await set_state(
        site,
        State.PUBLISHED,
        "beijing-weibo",
        "shanghai-tieba",
        **RECEIPT,
    )
    client = await site.signed_in("viewer")
    page = (await client.get(PATH)).text
    [section] = re.findall(
        r'<section class="card" id="post-places".*?</section>', page, re.DOTALL
    )
    links = re.findall(
        r'<a href="([^"]+)" target="_blank" rel="noreferrer noopener">([^<]+)', section
    )
    accounts = site.application.settings.accounts
    assert [place for place, _name in links] == [
        f"http://127.0.0.1:9/_sim/feed/{accounts[key].platform}/"
        f"{quote(accounts[key].identity)}"
        for key in ("beijing-weibo", "shanghai-tieba")
    ]
    [text] = re.findall(r"<textarea[^>]*>\n?(.*?)</textarea>", section, re.DOTALL)
    assert text.split("\n") == [f"{name} {place}" for place, name in links]
    assert "复制 2 个地址" in section
    live = replace(site.application.settings, environment=Environment.LIVE)
    site.app.state.site.application = replace(site.application, settings=live)
    assert "https://weibo.com/1/a" in (await client.get(PATH)).text


async def test_a_post_that_is_nowhere_has_no_addresses(site):
    """Before a post is published, and after it is taken down, there is nothing to open or copy."""
    await plan(site, POST)
    client = await site.signed_in("viewer")
    hidden = 'id="post-places" aria-labelledby="places" hidden'
    assert hidden in (await client.get(PATH)).text
    await set_state(site, State.RETRACTED, "beijing-weibo", **RECEIPT)
    assert hidden in (await client.get(PATH)).text


@pytest.mark.parametrize(("role", "sees"), [("author", False), ("operator", True)])
async def test_officers_read_titles_where_operators_have_ids(site, role, sees):
    """The list and the page of a post show its id to people who work on the host alone."""
    await plan(site, POST)
    client = await site.signed_in(role)
    pages = [(await client.get(path)).text for path in ("/posts", PATH)]
    assert ["<code>refund</code>" in page for page in pages] == [sees, sees]
