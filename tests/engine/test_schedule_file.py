"""The schedule file changes while the daemon is about to read it."""

import asyncio
import re
import shutil
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from PIL import Image
from sqlalchemy import select

import publisher.daemon
from publisher.app.application import open_application
from publisher.config import parse_settings
from publisher.daemon import Daemon, prepare_first_calls, run_until_stopped
from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.engine.sender import send_due
from publisher.i18n import Messages
from publisher.rendering.templates import shipped_templates
from publisher.store.db.tables import POST
from publisher.testing.fakes import FakeAdapter, FakeRuntime
from publisher.tomlfile.read import read_text
from tests.engine.test_planner import SETTINGS, cron, entry

FILE_READ_SECONDS = 15
"""Less than the interval of the job that reads the file, and enough for a slow machine."""
WHOLE = entry("p") + entry("q")
HALF = entry("p")


class EditingRuntime(FakeRuntime):
    """A runtime with another save of the file while the daemon waits for it to be stable."""

    saves = ()

    async def sleep_until(self, instant):
        if self.saves:
            file, text = self.saves.pop(0)
            await asyncio.to_thread(file.write_text, text, "utf-8")


@pytest.fixture
def runtime():
    return EditingRuntime()


@asynccontextmanager
async def daemon_of(settings, folder, runtime):
    settings = parse_settings(settings, workspace=folder)
    async with open_application(settings, runtime, can_send=False) as application:
        yield Daemon(
            application,
            folder / "schedule.toml",
            Messages(settings.lang),
            runtime.now(),
        )


@pytest.fixture
async def daemon(tmp_path, runtime):
    async with daemon_of(SETTINGS, tmp_path, runtime) as daemon:
        yield daemon


async def posts_of(daemon):
    return {
        item.key.post for item in await daemon.application.store.queries.deliveries()
    }


def gone(file):
    file.unlink()


def emptied(file):
    file.write_text("", "utf-8")


def linked(file):
    elsewhere = file.with_name("elsewhere.toml")
    elsewhere.write_text(HALF, "utf-8")
    file.unlink()
    file.symlink_to(elsewhere)


def made_a_folder(file):
    file.unlink()
    file.mkdir()


async def test_recipients_are_updated_before_the_first_call(tmp_path, runtime):
    """An account removed from a group while the daemon was down gets nothing.

    The file is the same.
    """
    (tmp_path / "schedule.toml").write_text(entry("p", to='["g"]'), "utf-8")
    states = []
    for members in ('["a", "b"]', '["a"]'):
        async with daemon_of(
            f"{SETTINGS}\n[groups]\ng = {members}\n", tmp_path, runtime
        ) as daemon:
            await daemon.load_initial_schedule()
            states.append(
                {
                    item.account: item.state
                    for item in await daemon.application.store.queries.deliveries()
                }
            )
    assert states == [
        {"a": State.PENDING, "b": State.PENDING},
        {"a": State.PENDING, "b": State.CANCELLED},
    ]


async def test_i5_the_owner_of_the_file_is_noted_wherever_the_daemon_runs(
    daemon, tmp_path, monkeypatch
):
    """I5: the owner of the file is noted, as the owner may not approve its posts.

    A daemon started elsewhere must know the owner as well.
    """
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    daemon.schedule_file.write_text(WHOLE, "utf-8")
    await daemon.load_initial_schedule()
    owners = await daemon.application.store.database.read(
        lambda connection: set(connection.scalars(select(POST.c.file_owner)))
    )
    assert owners == {daemon.schedule_file.owner()}


async def test_instants_that_come_within_range_are_filed_after_the_first_calls(
    daemon, runtime
):
    """A start with the same file and settings files nothing; the next planning run does."""
    daemon.schedule_file.write_text(cron("daily", "0 12 * * *"), "utf-8")
    filed = []
    for step in (
        daemon.load_initial_schedule,
        daemon.load_initial_schedule,
        daemon.plan,
    ):
        await step()
        filed.append(len(await daemon.application.store.queries.deliveries()))
        runtime.advance_time(timedelta(hours=12))
    assert filed[0] == filed[1] < filed[2]


async def test_f64_a_file_that_is_still_being_written_is_not_read(daemon, runtime):
    """F64: half of it, valid by accident, is never applied; the whole file is, in the next run."""
    daemon.schedule_file.write_text(HALF, "utf-8")
    runtime.saves = [(daemon.schedule_file, WHOLE)]
    await daemon.read_schedule()
    assert await posts_of(daemon) == set()
    await daemon.read_schedule()
    assert await posts_of(daemon) == {PostId("p"), PostId("q")}


@pytest.mark.parametrize("spoil", [gone, emptied, linked, made_a_folder])
async def test_f68_a_missing_file_cancels_nothing(daemon, spoil):
    """F68: the last good version stays in force, and all plans stay.

    An alert says so.
    """
    daemon.schedule_file.write_text(WHOLE, "utf-8")
    await daemon.read_schedule()
    spoil(daemon.schedule_file)
    await daemon.read_schedule()
    assert await daemon.application.store.posts.active_schedule_text() == WHOLE
    assert {
        item.state for item in await daemon.application.store.queries.deliveries()
    } == {State.PENDING}
    assert [
        alert.code for alert in await daemon.application.store.queries.alerts()
    ] == ["reload_refused"]


async def test_f64_a_file_cut_in_the_middle_leaves_the_last_good_version(daemon):
    """F64: a half-written stable file is refused with its line.

    The last good version stays in force.
    """
    daemon.schedule_file.write_text(WHOLE, "utf-8")
    await daemon.read_schedule()
    daemon.schedule_file.write_text(WHOLE[: len(WHOLE) - 20], "utf-8")
    await daemon.read_schedule()
    assert await daemon.application.store.posts.active_schedule_text() == WHOLE
    assert [
        alert.code for alert in await daemon.application.store.queries.alerts()
    ] == ["reload_refused"]


@pytest.fixture
def readings(monkeypatch):
    """Return the files that were read so far, one for each time."""
    found = []

    def read(file, *arguments):
        found.append(file)
        return read_text(file, *arguments)

    monkeypatch.setattr(publisher.daemon, "read_text", read)
    return found


async def test_the_alert_calls_a_post_by_its_number_and_id(daemon):
    """As `check` does, with the name of the file and one problem a line."""
    daemon.schedule_file.write_text(
        WHOLE.replace('id = "q"', 'id = "q"\nlevle = "red"') + entry("p"), "utf-8"
    )
    await daemon.read_schedule()
    [alert] = await daemon.application.store.queries.alerts()
    lines = alert.facts["reason"].splitlines()
    assert [re.sub(r":\d+:\d+:", "", line).partition(": ")[0] for line in lines] == [
        "schedule.toml 第 2 条 q 的 levle",
        "schedule.toml 第 3 条 p 的 id",
    ]


async def test_a_refused_file_is_read_again_after_longer_and_longer_pauses(
    daemon, runtime, readings
):
    """A refused file is read again after longer and longer pauses.

    The job, every 20 s, does not parse it each time. Five minutes are the longest pause, and a
    change ends it.
    """
    daemon.schedule_file.write_text(WHOLE + entry("p"), "utf-8")
    read_at = []
    for second in range(0, 1500, 20):
        before = len(readings)
        await daemon.read_schedule()
        read_at += [second] * (len(readings) - before)
        runtime.advance_time(timedelta(seconds=20))
    assert read_at == [0, 20, 60, 140, 300, 600, 900, 1200]
    daemon.schedule_file.write_text(WHOLE, "utf-8")
    await daemon.read_schedule()
    assert await posts_of(daemon) == {PostId("p"), PostId("q")}


@pytest.mark.long
async def test_a_picture_that_a_refused_file_lacks_is_noticed_when_it_comes(
    daemon, runtime
):
    """F75: the file is read again at once, although it has not changed."""
    media = daemon.schedule_file.parent / "media"
    media.mkdir()
    picture = 'images = [{ file = "media/late.png", alt = "图" }]\n[post.data]'
    daemon.schedule_file.write_text(HALF.replace("[post.data]", picture), "utf-8")
    await daemon.read_schedule()
    assert await posts_of(daemon) == set()
    watching = asyncio.create_task(daemon.watch_schedule_file())
    async with asyncio.timeout(30):
        while not await posts_of(daemon):
            Image.new("RGB", (200, 200), "navy").save(media / "late.png")
            # the watch may not have begun, and a save of each moment would never be settled
            await asyncio.sleep(0.3)
    daemon.stop_requested.set()
    await watching
    assert await posts_of(daemon) == {PostId("p")}


@pytest.mark.long
async def test_a_file_saved_before_it_is_watched_is_read_within_seconds(
    daemon, monkeypatch
):
    """A change between the first reading and the start of the watch is read within seconds.

    It does not wait for the slow job.
    """

    async def watch(*_facts):
        await daemon.stop_requested.wait()
        for nothing in ():
            yield nothing

    monkeypatch.setattr(publisher.daemon, "watch_files", watch)
    await daemon.load_initial_schedule()
    daemon.schedule_file.write_text(WHOLE, "utf-8")
    asyncio.get_running_loop().call_later(FILE_READ_SECONDS, daemon.stop_requested.set)
    await run_until_stopped(daemon)
    assert await posts_of(daemon) == {PostId("p"), PostId("q")}


@pytest.mark.long
@pytest.mark.parametrize("how", ["fault", "gone"])
async def test_f74_a_repeating_post_goes_on_as_far_as_it_is_filed(
    tmp_path, runtime, how
):
    """F74: filed instants are sent although the template is unusable.

    An alert says that no more can be planned.
    """
    own = shutil.copytree(
        shipped_templates() / "warning", tmp_path / "templates" / "own"
    )
    text = cron("daily", "0 12 * * *").replace(
        'template = "warning"', 'template = "own"'
    ) + cron("fine", "0 15 * * *")
    (tmp_path / "schedule.toml").write_text(text, "utf-8")
    async with daemon_of(SETTINGS, tmp_path, runtime) as daemon:
        await daemon.load_initial_schedule()
    if how == "fault":
        (own / "weibo.txt").write_text("{% if %}", "utf-8")
    else:
        shutil.rmtree(own)
    async with daemon_of(SETTINGS, tmp_path, runtime) as daemon:
        application, fake = daemon.application, FakeAdapter(now=runtime.now)
        await daemon.report_template_problems()
        await daemon.load_initial_schedule()
        for _ in range(4 * 24):
            await daemon.plan()
            await application.store.maintenance.run()
            await send_due(
                application.store, dict.fromkeys("ab", fake), 50, daemon.stop_requested
            )
            runtime.advance_time(timedelta(hours=1))
        states = Counter(
            (item.key.post, item.state)
            for item in await application.store.queries.deliveries()
        )
        alerts = await application.store.queries.alerts()
    assert states["daily", State.PUBLISHED] == 4
    assert states["fine", State.PUBLISHED] == 8
    assert [alert.code for alert in alerts if alert.code == "reload_refused"] == [
        "reload_refused"
    ]
    assert (alerts[-1].code == "templates_invalid") is (how == "fault")


async def test_a_start_ends_the_alert_that_asked_for_it(tmp_path, runtime):
    """People are not asked to restart a daemon that has just read the changed settings."""
    (tmp_path / "publisher.toml").write_text(SETTINGS, "utf-8")
    async with daemon_of(SETTINGS, tmp_path, runtime) as daemon:
        store = daemon.application.store
        await store.system_alerts.set_files_alert("changed after the start")
        await prepare_first_calls(daemon)
        codes = {alert.code for alert in await store.queries.alerts()}
    assert "settings_outdated" not in codes
