"""The demonstration, as a whole and in parts."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import tomllib
import urllib.request
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from publisher.app.format import Formatter
from publisher.cli.commands.demo import CORRECTION_DELAY
from publisher.cli.drill import Scenario, SimulatedPlatforms
from publisher.cli.live_display import LiveDisplay
from publisher.cli.terminal import text_width
from publisher.cli.workspace import (
    DemoWorkspace,
    find_shipped_schedule,
    postpone_schedule,
    read_regions,
    shift_schedule,
)
from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.post import OccurrenceKey, PostId, derive_marker
from publisher.i18n import Messages
from tests.cli.conftest import publisher_command
from tests.unit.domain.model_state import BORN

START = datetime(2026, 11, 25, 9, 0, 0)  # noqa: DTZ001 # a TOML time without offset
PATIENCE = 60
SIMULATOR = re.compile(r"(http://127\.0\.0\.1:\d+)/_sim/")
DAEMON = re.compile(r"进程号是 (\d+)")


def demo(*arguments):
    command = publisher_command(
        "demo", "--no-open", "--port", "0", "--fast", *arguments
    )
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.long
def test_a_killed_daemon_is_started_again_and_nothing_is_doubled():
    """A demonstration with a killed daemon publishes every post once and leaves no process."""
    with demo("--regions", "1", "--exit-when-settled") as process:
        lines, pids, killed = [], [], False
        for line in process.stdout:
            lines.append(line)
            if found := DAEMON.search(line):
                pids.append(int(found[1]))
            if "平台已受理" in line and not killed:
                os.kill(pids[0], signal.SIGKILL)
                killed = True
        assert process.wait(PATIENCE) == 0, lines
    assert len(pids) == 2
    assert any("恰好一份" in line for line in lines)
    assert not any(is_alive(pid) for pid in pids)


def make_scenario(**known):
    """Return a run of the demo that has only the named parts."""
    unused = dict.fromkeys(
        (
            "workspace",
            "store",
            "demo_workspace",
            "platforms",
            "simulator",
            "stopping",
            "where",
        )
    )
    formatter = Formatter(messages=Messages("zh_CN"), timezone=ZoneInfo("UTC"))
    return Scenario(formatter=formatter, sample_posts=(), **unused | known)


def test_a_command_to_type_is_not_broken_over_two_lines(monkeypatch):
    """A command to type has no line break in it, as a narrow terminal wraps by itself."""
    monkeypatch.setenv("COLUMNS", "20")
    shown = io.StringIO()
    scenario = make_scenario()
    with contextlib.redirect_stdout(LiveDisplay(shown)):
        scenario.print_message("demo_daemon", pid=12345)
    assert "kill -9 12345：" in shown.getvalue()


def deliveries_of(**numbers):
    """Return deliveries of two posts, so many in each state."""
    states = [
        State[name.upper()] for name, number in numbers.items() for _ in range(number)
    ]
    return [
        replace(
            BORN,
            state=state,
            key=OccurrenceKey(post=PostId(post), occurrence="once"),
        )
        for post in ("诈骗预警", "short")
        for state in states
    ]


def test_the_table_has_a_row_for_each_post(monkeypatch):
    """Each row has the number of deliveries in each state. Columns stand below one another."""
    monkeypatch.setenv("NO_COLOR", "1")
    deliveries = deliveries_of(due=2, published=3)
    scenario = make_scenario()
    heading, *rows = scenario.format_table(deliveries, 80)
    states = f"{scenario.formatter.state(State.DUE)} 2  已发布 3"
    starts = {text_width(row.removesuffix(states)) for row in rows}
    assert [row.split()[0] for row in rows] == ["诈骗预警", "short"]
    assert all(row.endswith(states) for row in rows)
    assert starts == {text_width(heading.removesuffix("状态"))}


@pytest.mark.parametrize("width", [40, 50, 80])
def test_the_states_of_a_post_go_on_below_it(monkeypatch, width):
    """No line is wider than the terminal, and no state is left out or broken."""
    monkeypatch.setenv("NO_COLOR", "1")
    deliveries = deliveries_of(due=200, published=300, held=4, unknown=5, failed=6)
    lines = list(make_scenario().format_table(deliveries, width))
    words = [State.DUE, State.PUBLISHED, State.HELD, State.UNKNOWN, State.FAILED]
    formatter = make_scenario().formatter
    assert max(map(text_width, lines)) <= width
    for state in words:
        number = sum(one.state is state for one in deliveries) // 2
        assert sum(f"{formatter.state(state)} {number}" in line for line in lines) == 2


@pytest.mark.parametrize("is_removed", [True, False])
async def test_what_people_take_back_is_not_a_mistake(simulator, capsys, is_removed):
    """A retracted post that is gone fails nothing; one that still stands is shown as wrong."""
    demo_workspace = DemoWorkspace(
        regions=read_regions()[:1], simulator_url=simulator.url
    )
    accounts = [
        account for account in demo_workspace.accounts if account.platform == "weibo"
    ]
    platforms = SimulatedPlatforms(base_url=simulator.url)
    platforms.create_accounts(accounts)
    deliveries = []
    for post, state in (("kept", State.PUBLISHED), ("taken-back", State.RETRACTED)):
        key = OccurrenceKey(post=PostId(post), occurrence="once")
        marker = derive_marker(key, AccountId(accounts[0].id))
        text = {
            "platform": "weibo",
            "account": accounts[0].identity,
            "title": post,
            "text": f"警惕{marker.code}",
        }
        made = simulator.post("/_sim/posts", text)
        if is_removed and state is State.RETRACTED:
            simulator.delete(f"/_sim/posts/{made['id']}")
        deliveries.append(
            replace(
                BORN,
                id=len(deliveries),
                state=state,
                key=key,
                account=accounts[0].id,
                platform="weibo",
            )
        )
    scenario = make_scenario(demo_workspace=demo_workspace, platforms=platforms)
    assert await scenario.verify(deliveries) == int(not is_removed)
    assert ("taken-back@" in capsys.readouterr().out) is not is_removed


@pytest.mark.long
def test_messages_of_the_simulated_wechat_are_accepted():
    """The demonstration's daemon is notified of the end of a review, and accepts the message."""
    with demo("--regions", "1") as process:
        address = next(
            found[1] for line in process.stdout if (found := re.search(SIMULATOR, line))
        )
        reported = []
        for _line in process.stdout:
            with urllib.request.urlopen(  # noqa: S310 # loopback
                f"{address}/_sim/log", timeout=PATIENCE
            ) as reply:
                reported = [
                    entry["status"]
                    for entry in json.load(reply)
                    if entry["kind"] == "callback"
                ]
            if reported:
                break
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert set(reported) == {200}


@pytest.mark.long
def test_a_closed_terminal_ends_everything():
    """A closed terminal ends daemon, simulator and demonstration in order, with exit code 0.

    tests/browser does that by ^C.
    """
    with demo("--regions", "1") as process:
        text = ""
        for line in process.stdout:
            text += line
            if SIMULATOR.search(text) and DAEMON.search(text):
                break
        address, daemon = SIMULATOR.search(text)[1], int(DAEMON.search(text)[1])
        process.send_signal(signal.SIGHUP)
        process.stdout.read()
        assert process.wait(PATIENCE) == 0
    assert not is_alive(daemon)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{address}/_sim/log", timeout=PATIENCE)  # noqa: S310 # loopback


def test_the_timetable_keeps_the_posts_and_moves_their_times():
    """Every post is due once between start and end, in the file's order, otherwise unchanged.

    Corrections come after all others, by so much that their originals are out. Otherwise they would
    stop these.
    """
    before = tomllib.loads(find_shipped_schedule().read_text("utf-8"))["post"]
    text = shift_schedule(
        find_shipped_schedule().read_text("utf-8"),
        START,
        timedelta(minutes=2),
        CORRECTION_DELAY,
    )
    after = tomllib.loads(text)["post"]
    assert [post["id"] for post in after] == [post["id"] for post in before]
    times = [post["at"] for post in after if post["kind"] != "correction"]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (START, START + timedelta(minutes=2))
    corrected_at = {post["at"] for post in after if post["kind"] == "correction"}
    assert corrected_at == {times[-1] + CORRECTION_DELAY}
    assert not any({"cron", "from", "until"} & set(post) for post in after)
    for old, new in zip(before, after, strict=True):
        later = new["at"] - old.get("at", new["at"])
        if "expires" in old:
            assert new["expires"] - old["expires"] == later
        weeks = later // timedelta(weeks=1)
        assert new["data"] == moved(old["data"], timedelta(weeks=weeks))


def moved(value, shift):
    """Return a value with its days so much later."""
    if isinstance(value, dict):
        return {key: moved(each, shift) for key, each in value.items()}
    return value + shift if isinstance(value, date) else value


@pytest.mark.parametrize(
    ("now", "weeks"),
    [
        (datetime(2026, 12, 1), 0),  # noqa: DTZ001 # as in the file
        (datetime(2027, 1, 4, 8, 59), 0),  # noqa: DTZ001
        (datetime(2027, 1, 4, 9), 1),  # noqa: DTZ001
        (datetime(2028, 2, 29), 61),  # noqa: DTZ001
    ],
)
def test_the_posts_of_a_drill_are_never_past(now, weeks):
    """Once a post is due within a day, all posts and their limits are as many weeks later.

    The weeks are whole.
    """
    text = find_shipped_schedule().read_text("utf-8")
    before, after = (
        tomllib.loads(each)["post"] for each in (text, postpone_schedule(text, now))
    )
    later = timedelta(weeks=weeks)
    assert after == [moved(post, later) for post in before]
    first = min(post["at"] for post in after if "at" in post)
    assert first - now > timedelta(days=1)


def test_many_regions_show_one_warning():
    """For many regions one warning to all remains."""
    text = shift_schedule(
        find_shipped_schedule().read_text("utf-8"),
        START,
        timedelta(seconds=5),
        CORRECTION_DELAY,
        is_single_warning=True,
    )
    posts = tomllib.loads(text)["post"]
    assert [(post["kind"], post["to"], post["at"]) for post in posts] == [
        ("warning", ["all"], START)
    ]


@pytest.mark.parametrize("key", ["code", "slug", "forum", "agency"])
def test_regions_are_distinct(key):
    """No two regions share a code, a name in ids, a forum or a public name; Beijing comes first."""
    regions = read_regions()
    assert len({getattr(region, key) for region in regions}) == len(regions) == 50
    assert regions[0].code == "110000"
