"""One cause at many accounts is over by one command: `resume`, `resolve`, `alerts dismiss`."""

import pytest
from sqlalchemy import select

from publisher.domain.account import AccountId
from publisher.domain.results import Blocked, HoldReason, Unknown
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.rows import clear_alerts, raise_alert
from tests.cli.conftest import (
    BY,
    CAPTCHA,
    NOTHING_CLAIMED,
    PUBLISHED,
    make_drill,
)

WANG = ("--by", "王")
PLATFORM = "platform:weibo"
ADDRESS = Blocked(code="weibo_10004", reason="", hold_reason=HoldReason.ACCOUNT)


@pytest.fixture
def drill(tmp_path):
    """Return a drill workspace of three regions."""
    return make_drill(tmp_path / "drill", "http://127.0.0.1:9", regions=3)


@pytest.fixture
def blocked(run, due_post, deliver):
    """Return the drill after its post was refused at three accounts for one cause."""
    deliver(ADDRESS)
    return due_post


def paused(run, folder):
    return [one["scope"] for one in status(run, folder)["paused"]]


def status(run, folder):
    return run("-C", folder, "status", "--json").json


def states(run, folder):
    return sorted(one["state"] for one in status(run, folder)["deliveries"])


def accounts_of(run, folder):
    return [one["account"] for one in status(run, folder)["deliveries"]]


@pytest.mark.long
def test_f50_one_command_resumes_and_resends_what_one_cause_has_stopped(
    run, blocked, deliver
):
    """F50: `resume platform:P --resend` ends the pauses of one reason, and what they hold."""
    assert len(paused(run, blocked)) == 3
    resumed = run("-C", blocked, "resume", PLATFORM, "--resend", *WANG)
    assert (resumed.code, paused(run, blocked)) == (0, [])
    assert states(run, blocked) == ["due"] * 3
    deliver(PUBLISHED)
    assert status(run, blocked)["alerts"] == []


def test_f50_resume_of_a_platform_names_what_is_not_sent_by_itself(run, blocked):
    """F50: without --resend the held deliveries are named, and stay."""
    resumed = run("-C", blocked, "resume", PLATFORM, *WANG)
    assert (resumed.code, paused(run, blocked)) == (0, [])
    assert resumed.err.count("publisher why refund@") == 3


@pytest.mark.long
def test_f50_a_pause_for_another_reason_is_left_and_named(
    run, blocked, run_on_database
):
    """F50: with several reasons none is guessed; what stays is listed, and the exit code is 1."""
    [first, *_others] = accounts_of(run, blocked)

    async def pause_for_secret(application):
        account = application.settings.accounts[AccountId(first)]
        await application.store.login_health.record_refused(account, CAPTCHA)

    run("-C", blocked, "resume", first, *WANG)
    run_on_database(pause_for_secret)
    several = run("-C", blocked, "resume", PLATFORM, *WANG)
    assert (several.code, len(paused(run, blocked))) == (1, 3)
    assert "--reason weibo_10004" in several.err
    one = run("-C", blocked, "resume", PLATFORM, "--reason", "weibo_10004", *WANG)
    assert (one.code, paused(run, blocked)) == (1, [f"account:{first}"])
    assert f"publisher resume {first}" in one.err


def test_f50_a_pause_by_a_person_is_left_and_named(run, blocked):
    """F50: an account that a person has stopped stays stopped, and the exit code says so."""
    [first, *_others] = accounts_of(run, blocked)
    run("-C", blocked, "resume", first, *WANG)
    run("-C", blocked, "pause", first, *WANG)
    resumed = run("-C", blocked, "resume", PLATFORM, *WANG)
    assert (resumed.code, paused(run, blocked)) == (1, [f"account:{first}"])
    assert f"publisher resume {first}" in resumed.err


def test_an_account_under_a_wider_pause_is_not_resumed(run, blocked):
    """`resume ACCOUNT` exits with 1 while its platform is paused."""
    [first, *_others] = accounts_of(run, blocked)
    run("-C", blocked, "pause", PLATFORM, *WANG)
    assert run("-C", blocked, "resume", first, *WANG).code == 1
    assert run("-C", blocked, "resume", "--reason", "x", *WANG).code == 2


def test_f50_all_of_a_post_held_for_one_reason_is_resent_at_once(run, blocked, deliver):
    """F50: `resolve POST resend` decides all of them, and says that they are still paused."""
    resent = run("-C", blocked, "resolve", "refund", "resend", *BY)
    assert (resent.code, states(run, blocked)) == (1, ["due"] * 3)
    assert "publisher resume" in resent.err
    assert run("-C", blocked, "resume", PLATFORM, *WANG).code == 0
    deliver(PUBLISHED)
    assert run("-C", blocked, "resolve", "refund", "resend", *BY).code == 1


def test_f50_an_open_outcome_is_never_resent_with_others(run, blocked, run_on_database):
    """F50: a call that may have created a post is named and left to a person."""
    [first, *_others] = accounts_of(run, blocked)
    lost = Unknown(reason="timeout")

    async def lose_outcome(application):
        store = application.store
        [lease] = await store.outbox.claim(10)
        await store.outbox.record_intent(lease)
        await store.outbox.record_outcome(lease, lost)

    run("-C", blocked, "resume", first, *WANG)
    run("-C", blocked, "resolve", f"refund@{first}", "resend", *BY)
    run_on_database(lose_outcome)
    resent = run("-C", blocked, "resolve", "refund", "resend", *BY)
    assert (resent.code, states(run, blocked)) == (1, ["due", "due", "unknown"])
    assert f"publisher why refund@{first}" in resent.err


def test_f50_what_needs_a_look_at_the_account_is_not_resent_with_others(
    run, due_post, deliver
):
    """F50: after a request for a captcha a person looks at each account first."""
    deliver(CAPTCHA)
    resent = run("-C", due_post, "resolve", "refund", "resend", *BY)
    assert (resent.code, states(run, due_post)) == (1, ["held"] * 3)
    assert resent.err.count("publisher why refund@") == 3
    resumed = run("-C", due_post, "resume", PLATFORM, "--resend", *WANG)
    assert (resumed.code, states(run, due_post)) == (1, ["held"] * 3)
    assert paused(run, due_post) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("resolve", "refund", "cancel", *BY), 2),
        (("resolve", "refund", "resend", "--held-for", "captcha", *BY), 1),
        (("resolve", "nothing", "resend", *BY), 4),
        (("alerts", "dismiss", "--code", "disk_full", *WANG), 4),
        (("alerts", "dismiss", "1", "999", *WANG), 4),
        (("alerts", "dismiss", "1", "--code", "held", *WANG), 2),
        (("alerts", "dismiss", "--same-cause", *WANG), 2),
        (("alerts", "dismiss", "--code", "held", "--same-cause", *WANG), 2),
        (("alerts", "dismiss", "999", "--same-cause", *WANG), 4),
    ],
)
def test_an_order_about_many_names_what_there_is(run, blocked, arguments, code):
    """Other rulings need their account; an unknown number ends the command before it begins."""
    before = status(run, blocked)["alerts"]
    assert run("-C", blocked, *arguments).code == code
    assert status(run, blocked)["alerts"] == before
    assert states(run, blocked) == ["held"] * 3


@pytest.mark.parametrize("by_code", [True, False])
def test_f50_alerts_of_one_kind_are_dismissed_at_once(run, blocked, by_code):
    """F50: several numbers, or one code, acknowledge many alerts by one command."""
    alerts = run("-C", blocked, "alerts", "--json").json["alerts"]
    numbers = [str(one["id"]) for one in alerts if one["code"] == "account_paused"]
    assert len(numbers) == 3
    chosen = ("--code", "account_paused") if by_code else numbers
    assert run("-C", blocked, "alerts", "dismiss", *chosen, *WANG).code == 0
    left = {one["code"] for one in status(run, blocked)["alerts"]}
    assert left == {"held.account"}
    run("-C", blocked, "alerts", "dismiss", "--code", "held", *WANG)
    assert status(run, blocked)["alerts"] == []


def test_f50_the_alerts_of_one_cause_are_dismissed_by_one_number(
    run, blocked, run_on_database
):
    """F50: another reason stays, although the code is the same; the alert of the number may be over."""

    async def change(application):
        store, now = application.store, application.runtime.now()

        def write(unit):
            for name in ("over", "lasts", "other"):
                reason = "y" if name == "other" else "x"
                facts = {"account": "beijing-tieba", "reason": reason}
                raise_alert(unit, now, "login_refused", name, facts)
            clear_alerts(unit, "over", now)

        await store.database.write(write)
        ended = select(ALERT.c.id).where(ALERT.c.subject == "over")
        return await store.database.read_scalar(ended)

    number = str(run_on_database(change))
    before = len(status(run, blocked)["alerts"])
    assert (
        run("-C", blocked, "alerts", "dismiss", number, "--same-cause", *WANG).code == 0
    )
    alerts = status(run, blocked)["alerts"]
    assert len(alerts) == before - 1
    assert [one["subject"] for one in alerts if one["code"] == "login_refused"] == [
        "other"
    ]


def test_nothing_is_sent_while_the_pause_lasts(blocked, deliver):
    """The post was refused before its accounts were paused, and is not claimed."""
    with pytest.raises(pytest.fail.Exception, match=NOTHING_CLAIMED):
        deliver(PUBLISHED)
