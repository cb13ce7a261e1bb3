"""The rule on notices: a sound outbox has no violation, and each small mistake is found."""

from copy import deepcopy

import pytest

from tests.chaos.checker.artefacts import Artefacts
from tests.chaos.checker.decoder import history_of
from tests.chaos.checker.endings import trouble_raises_alert

pytestmark = pytest.mark.long
MICRO = 1_000_000
START, END = 1_795_568_400, 1_795_568_400 + 3600
ABOUT = {"code": "login_refused", "subject": "login:weibo/a"}


def alert(number, at, cleared=None, **more):
    cleared_at = None if cleared is None else (START + cleared) * MICRO
    return {
        "id": number,
        "at": (START + at) * MICRO,
        **ABOUT,
        "cleared_at": cleared_at,
        "reopenings": 0,
        **more,
    }


def notice(number, key, kind, at, sent):
    """Return the row of a notice that its channel accepted after so many seconds."""
    ended = (START + sent) * MICRO
    facts = {"alert": int(key.partition("-")[0]), "channel": "duty", "is_sent": True}
    return (
        {
            "id": number,
            "key": key,
            "kind": kind,
            "at": (START + at) * MICRO,
            "next_action_at": ended,
        }
        | facts
        | {"ended_at": ended}
    )


def message(key, at):
    return {"channel": "duty", "key": key, "at": START + at, "is_accepted": True}


@pytest.fixture
def run():
    """Return a run with one alert reported as new and as over, and another one open."""
    rows = {
        "alert": [alert(1, 10, 400), alert(2, 900, subject="login:weibo/b")],
        "notice": [
            notice(1, "1-1", "opened", 12, 13),
            notice(2, "1-2", "closed", 522, 523),
            notice(3, "2-1", "opened", 903, 904),
        ],
    }
    messages = [message("1-1", 13), message("1-2", 523), message("2-1", 904)]
    return Artefacts(
        rows=rows, lists={"messages": messages}, documents={"plan": {"ended_at": END}}
    )


def found(run):
    return [violation.what for violation in trouble_raises_alert(history_of(run))]


def never_reported(run):
    del run.rows["notice"][2], run.lists["messages"][2]


def reported_late(run):
    run.rows["notice"][2]["at"] += 70 * MICRO


def end_not_reported(run):
    del run.rows["notice"][1], run.lists["messages"][1]


def short_and_not_reported(run):
    run.rows["alert"].append(alert(3, 1000, 1020, subject="login:weibo/c"))


def closed_and_not_reported(run):
    end_not_reported(run)
    run.rows["alert"][0]["is_settled"] = True


def opened_twice(run):
    run.rows["notice"].append(notice(4, "2-2", "opened", 1900, 1901))
    run.lists["messages"].append(message("2-2", 1901))


def sent_twice(run):
    run.lists["messages"].append(message("2-1", 940))


def counts_as_sent(run):
    del run.lists["messages"][2]


def left_waiting(run):
    run.rows["notice"][2] |= {
        "ended_at": None,
        "is_sent": False,
        "next_action_at": (START + 950) * MICRO,
    }
    del run.lists["messages"][2]


def given_up(run):
    run.rows["notice"][2] |= {"is_sent": False}
    del run.lists["messages"][2]


BROKEN = {
    never_reported: "nobody was notified within a minute",
    reported_late: "nobody was notified within a minute",
    end_not_reported: "over, and nobody was notified of that",
    short_and_not_reported: "over, and nobody was notified of that",
    closed_and_not_reported: "over, and nobody was notified of that",
    opened_twice: "reported as new twice",
    sent_twice: "sent twice to duty",
    counts_as_sent: "counts as sent, and duty never got it",
    left_waiting: "due, and not sent to duty",
    given_up: "given up, and duty got nothing else",
}


@pytest.mark.parametrize("mutation", BROKEN, ids=lambda mutation: mutation.__name__)
def test_i10_each_mistake_in_notices_is_found(run, mutation):
    """I10: the sound run has no finding, and the broken one has its own."""
    assert found(deepcopy(run)) == []
    mutation(run)
    assert found(run) == [BROKEN[mutation]]


def test_i10_a_host_that_died_while_it_sent_may_send_again(run):
    """I10: after a kill in between, the same id twice or a waiting notice is no violation."""
    sent_twice(run)
    run.lists["interruptions"] = [{"kind": "killed", "at": START + 905}]
    assert found(run) == []


def test_i10_an_alert_that_one_from_before_replaces_has_no_end(run):
    """I10: an alert that a reopened earlier one replaces needs no end.

    A login is blocked, refused, and blocked once more. The first alert, open again, stands for the
    second.
    """
    closed_and_not_reported(run)
    run.rows["alert"].append(alert(3, 5, code="account_blocked", reopenings=1))
    run.rows["notice"].append(notice(4, "3-1", "opened", 6, 7))
    run.lists["messages"].append(message("3-1", 7))
    assert found(run) == []


def test_i10_without_channels_nobody_has_to_be_notified(run):
    """I10: where no message was recorded, only the alerts are judged."""
    never_reported(run)
    del run.lists["messages"]
    assert found(run) == []
