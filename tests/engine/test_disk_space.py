"""A disk that is nearly full is an alert, before the daemon has to stop sending."""

import shutil
from typing import NamedTuple

import pytest

from publisher.engine.decisions import named_person
from publisher.engine.disk_space import (
    LOW_BYTES,
    VERY_LOW_BYTES,
    check_disks,
    measure_disks,
)
from publisher.testing.builders import make_policy
from tests.alerts.test_notices import MINUTE, Receiver, make_notifier
from tests.engine.settings import make_settings

TEN_GIGABYTES = 10 * 2**30


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def disk(monkeypatch):
    """Return a function that sets size and free bytes of every disk."""

    def set_space(total, free):
        monkeypatch.setattr(
            shutil, "disk_usage", lambda _folder: Usage(total, total - free, free)
        )

    return set_space


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "var").mkdir()
    return make_settings(tmp_path)


async def low_disks(store, settings):
    """Let the daemon look. Return the folder and the free megabytes of each open alert."""
    await check_disks(store, settings)
    return [
        (alert.facts["folder"], alert.facts["free"])
        for alert in await store.queries.alerts()
        if alert.code == "disk_low"
    ]


@pytest.mark.parametrize(
    ("total", "free", "is_low"),
    [
        (100 * TEN_GIGABYTES, LOW_BYTES - 1, True),
        (100 * TEN_GIGABYTES, LOW_BYTES, False),
        (2**30, 2**30 // 5, False),
        (5 * 2**30, 2**29 - 1, True),
        (2**30, VERY_LOW_BYTES - 1, True),
    ],
)
def test_a_disk_is_low_below_a_gigabyte_and_a_tenth_or_below_200_megabytes(
    settings, disk, total, free, is_low
):
    disk(total, free)
    assert [one.is_low for one in measure_disks(settings).values()] == [is_low] * 3


async def test_f82_a_low_disk_is_one_alert_until_there_is_room(
    open_store, settings, disk
):
    """Three places on one disk are one alert, and a few bytes less make no other one.

    It has the present figures, and causes no other notice.
    """
    store = await open_store(make_policy("a"))
    notifier = make_notifier(store, receiver := Receiver())
    for free in (2**29, 2**28):
        disk(100 * TEN_GIGABYTES, free)
        expected = [(str(settings.workspace), str(free // 2**20))]
        assert await low_disks(store, settings) == expected
        await notifier.run()
        store.runtime.advance_time(MINUTE)
    assert receiver.kinds() == [("duty", "新")]
    [alert] = await store.queries.alerts()
    assert await store.actions.dismiss_alert(alert.id, named_person("王"))
    disk(100 * TEN_GIGABYTES, 2**27)
    assert await low_disks(store, settings) == []
    disk(100 * TEN_GIGABYTES, LOW_BYTES)
    assert await low_disks(store, settings) == []


async def test_the_alert_of_another_host_stays(open_store, settings, disk):
    """A host with room does not clear the alert of one without."""
    one, two = [await open_store(make_policy("a"), worker=name) for name in "ab"]
    disk(100 * TEN_GIGABYTES, 2**29)
    await check_disks(one, settings)
    disk(100 * TEN_GIGABYTES, LOW_BYTES)
    assert len(await low_disks(two, settings)) == 1
    assert await low_disks(one, settings) == []


def test_a_folder_that_is_missing_is_left_out(tmp_path):
    assert set(measure_disks(make_settings(tmp_path))) == {"staff"}
