"""Pictures that people upload are removed once nothing names them, and never while anything may."""

import hashlib
import os
from datetime import timedelta

import pytest

from publisher.domain.errors import ScheduleError
from publisher.engine.pictures import remove_unused_pictures
from publisher.store.people.drafts import UPLOAD_GRACE
from tests.engine.test_planner import entry, planner  # noqa: F401 # the fixture


@pytest.fixture
def media(planner):  # noqa: F811 # as above
    folder = planner.post_renderer.staff_folder / "media"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def schedule(planner):  # noqa: F811 # as above
    file = planner.post_renderer.staff_folder / "schedule.toml"
    file.write_text("post = []\n", "utf-8")
    return file


def put(planner, media, data, *, age=UPLOAD_GRACE + timedelta(days=1), name=None):  # noqa: F811 # as above
    """Put a file into the folder as an upload leaves it.

    Its age is by the planner's clock.
    """
    digest = hashlib.sha256(data).hexdigest()[:12]
    file = media / (name or f"2026-11-{digest}.png")
    file.write_bytes(data)
    at = (planner.now - age).timestamp()
    os.utime(file, (at, at))
    return file


async def test_only_old_uploads_that_nothing_names_are_removed(
    planner,  # noqa: F811 # as above
    media,
    schedule,
):
    """Only an old upload that nothing names is removed.

    A file stays if a draft or the schedule names it, or if it is younger, put there by hand,
    changed, or a link.
    """
    unused = put(planner, media, b"unused")
    young = put(planner, media, b"young", age=UPLOAD_GRACE - timedelta(hours=1))
    drafted, planned = put(planner, media, b"drafted"), put(planner, media, b"planned")
    by_hand = put(planner, media, b"hand", name="police.png")
    changed = put(planner, media, b"first")
    changed.write_bytes(b"second")
    os.utime(changed, (0, 0))
    outside = put(planner, media.parent, b"outside")
    link = media / outside.name
    link.symlink_to(outside)
    folder = media / "2026-11-0123456789ab.png"
    folder.mkdir()
    await planner.store.drafts.create(
        "王", f'{{"image_file": ["media/{drafted.name}"]}}'
    )
    schedule.write_text(f"post = []\n# media/{planned.name}\n", "utf-8")
    number = await remove_unused_pictures(planner, schedule)
    kept = {young, drafted, planned, by_hand, changed, link, folder}
    assert number == 1
    assert not unused.exists()
    assert kept <= set(media.iterdir())
    assert outside.exists()


async def test_nothing_is_removed_while_the_schedule_cannot_be_read(
    planner,  # noqa: F811 # as above
    media,
    schedule,
):
    """Nothing is removed while the schedule is unreadable, as its named files are unknown."""
    picture = put(planner, media, b"unused")
    schedule.unlink()
    with pytest.raises(ScheduleError):
        await remove_unused_pictures(planner, schedule)
    assert picture.exists()
