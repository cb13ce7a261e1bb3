"""What the service manager hears from a daemon: that it is ready, that its jobs run, that it stops."""

import asyncio
import os
import socket
from dataclasses import replace

import pytest

from publisher.app.application import open_application
from publisher.config import parse_settings
from publisher.daemon import Daemon, run_until_stopped
from publisher.engine.job_scheduler import MAX_DELAY_SECONDS, Job, JobWatch
from publisher.i18n import Messages
from publisher.runtime.service_manager import ServiceManager
from tests.engine.test_planner import SETTINGS

WATCHED = {"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid())}


class NotifySocket:
    """The socket of a service manager, with a name in the file system or an abstract one."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        self.socket.settimeout(0)
        self.name = name

    def read(self):
        """Return the states that have arrived."""
        states = []
        try:
            while True:
                states.append(self.socket.recv(100).decode())
        except BlockingIOError:
            return states


@pytest.fixture(params=["file", "abstract"])
def receiver(request, tmp_path):
    is_file = request.param == "file"
    made = NotifySocket(str(tmp_path / "n") if is_file else f"@publisher-{os.getpid()}")
    yield made
    made.socket.close()


def test_each_state_is_a_datagram_and_no_child_speaks_for_its_parent(receiver):
    """The states arrive in order; the environment no longer names the socket."""
    environment = {"NOTIFY_SOCKET": receiver.name, **WATCHED, "HOME": "/"}
    manager = ServiceManager.take_from(environment)
    manager.report_ready()
    manager.report_alive()
    manager.report_stopping()
    assert receiver.read() == ["READY=1", "WATCHDOG=1", "STOPPING=1"]
    assert (environment, manager.watchdog_seconds) == ({"HOME": "/"}, 120.0)


@pytest.mark.parametrize(
    "watched",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {**WATCHED, "WATCHDOG_PID": "1"}],
)  # fmt: skip
def test_without_a_watchdog_of_this_process_no_sign_of_life_is_sent(tmp_path, watched):
    """No watchdog, or that of another process, is sent nothing but the states."""
    receiver = NotifySocket(str(tmp_path / "n"))
    manager = ServiceManager.take_from({"NOTIFY_SOCKET": receiver.name, **watched})
    manager.report_alive()
    manager.report_ready()
    assert receiver.read() == ["READY=1"]
    receiver.socket.close()


@pytest.mark.parametrize("name", ["", "/nowhere/notify"])
def test_a_daemon_runs_without_a_service_manager(name):
    """Neither a missing name nor a missing socket stops the process."""
    ServiceManager.take_from({"NOTIFY_SOCKET": name, **WATCHED}).report_alive()


@pytest.fixture
async def daemon(tmp_path, runtime, receiver):
    settings = parse_settings(SETTINGS, workspace=tmp_path)
    async with open_application(settings, runtime, can_send=False) as application:
        await application.store.actions.register_worker()
        made = Daemon(
            application,
            tmp_path / "schedule.toml",
            Messages(settings.lang),
            runtime.now(),
        )
        made.service_manager = ServiceManager(receiver.name, 120.0)
        yield made


async def test_each_heartbeat_is_reported_and_a_hanging_one_is_not(daemon, receiver):
    """A heartbeat that ends, even with an error, is a sign of life; one that hangs is none."""
    heartbeat, goes_on = daemon.jobs["heartbeat"], asyncio.Event()
    await daemon.run_job(heartbeat)
    assert receiver.read() == ["WATCHDOG=1"]

    async def fail():
        raise OSError("the disk is full")

    await daemon.run_job(replace(heartbeat, run=fail))
    assert receiver.read() == ["WATCHDOG=1"]
    hanging = asyncio.create_task(daemon.run_job(replace(heartbeat, run=goes_on.wait)))
    await daemon.run_job(daemon.jobs["check_files"])
    assert receiver.read() == []
    goes_on.set()
    await hanging
    assert receiver.read() == ["WATCHDOG=1"]


async def test_a_heartbeat_alone_is_no_sign_of_life(daemon, receiver, runtime):
    """Once the scheduler no longer starts the job that sends, the watchdog is left to bite.

    A job that runs on, as it awaits calls, is not missed.
    """
    watch = daemon.job_watch
    late = watch.monotonic() + 3600
    watch.monotonic = lambda: late
    for name in watch.jobs.keys() - {"send"}:
        watch.note_start(name)
    await daemon.run_job(daemon.jobs["heartbeat"])
    assert receiver.read() == []
    ends = asyncio.Event()
    sending = asyncio.create_task(
        daemon.run_job(replace(daemon.jobs["send"], run=ends.wait))
    )
    watch.started_at.pop("send", None)
    await asyncio.sleep(0)
    await daemon.run_job(daemon.jobs["heartbeat"])
    assert receiver.read() == ["WATCHDOG=1"]
    ends.set()
    await sending


async def test_a_stop_is_reported_as_it_begins(daemon, receiver):
    """The service manager hears of the stop while calls in flight are still awaited."""
    daemon.stop_requested.set()
    await run_until_stopped(daemon)
    assert receiver.read() == ["STOPPING=1"]


def test_a_job_is_late_once_its_interval_and_a_delay_have_passed():
    """The first start counts from the beginning, and an idle interval is waited for."""
    now, interval = [0.0], [1.0]

    async def run():
        return None

    jobs = (Job("fast", run, 0.0, 1.0), Job("first", run, 100.0, 1.0))
    watch = JobWatch(jobs, lambda _job: interval[0], lambda: now[0])
    now[0] = MAX_DELAY_SECONDS + 2
    assert watch.find_late(()) == ["fast"]
    assert watch.find_late({"fast"}) == []
    interval[0] = 60.0
    assert watch.find_late(()) == []
    now[0] = MAX_DELAY_SECONDS + 101
    assert watch.find_late(()) == ["fast", "first"]
    watch.note_start("fast")
    watch.note_start("first")
    assert watch.find_late(()) == []
