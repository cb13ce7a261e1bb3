"""A reload costs by its changes.

The rest is neither rendered again nor compared in the transaction.
"""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import event

from publisher.domain.errors import ScheduleError
from publisher.engine.planner import apply_schedule
from publisher.rendering.jobs import RenderPage
from tests.engine.test_planner import entry, planner  # noqa: F401 # a fixture

LATER = "2026-12-20T09:00:00"
"""Beyond the planning window: checked at each reload, filed weeks later."""
ORIGINAL = entry("original", at=LATER)
CLEAR = entry("clear", at="2026-12-21T09:00:00", title="预警解除")
CLEAR = CLEAR.replace('"warning"', '"all-clear"').replace(
    "author", 'follows = "original"\nauthor'
)
OTHER = entry("other", at=LATER, to='["a"]')
SCHEDULE = ORIGINAL + CLEAR + OTHER


class RecordingRenderer:
    """A renderer that passes jobs on and records the posts of their pages."""

    def __init__(self, renderer):
        self.renderer = renderer
        self.posts = set()

    def run(self, jobs):
        self.posts |= {
            job.variables["post"]["id"] for job in jobs if isinstance(job, RenderPage)
        }
        return self.renderer.run(jobs)


@pytest.fixture
def recorder(planner):  # noqa: F811
    """Return a planner with nothing checked yet, and the recorder of its renderer."""
    renderer = RecordingRenderer(planner.post_renderer.templates.renderer)
    templates = replace(planner.post_renderer.templates, renderer=renderer)
    return replace(
        planner, post_renderer=replace(planner.post_renderer, templates=templates)
    ), renderer


@pytest.mark.parametrize(
    ("old", "new", "rendered"),
    [
        ("", "", set()),
        (OTHER, OTHER.replace("退款不用转账", "退款无需转账"), {"other"}),
        (OTHER, OTHER.replace(LATER, "2026-12-22T09:00:00"), {"other"}),
        (OTHER, OTHER.replace('["a"]', '["b"]'), {"other"}),
        (ORIGINAL, ORIGINAL.replace("警惕", "谨防"), {"original", "clear"}),
        (OTHER, "", set()),
    ],
    ids=["nothing", "text", "time", "account", "title of an original", "removed"],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_reload_checks_the_texts_that_have_changed(
    recorder, old, new, rendered
):
    """A text depends on the post, its time, its accounts and its original's title."""
    planning, renderer = recorder
    await apply_schedule(planning, SCHEDULE, "schedule.toml")
    assert renderer.posts == {"original", "clear", "other"}
    renderer.posts.clear()
    await apply_schedule(planning, SCHEDULE.replace(old, new), "schedule.toml")
    assert renderer.posts == rendered


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_i20_a_post_that_was_refused_is_checked_again(recorder):
    """I20: a wrong file is refused at each read, and its sound posts are checked once."""
    planning, renderer = recorder
    wrong = SCHEDULE.replace(OTHER, OTHER.replace("退款不用转账", "退" * 200))
    for posts in ({"original", "clear", "other"}, {"other"}):
        renderer.posts.clear()
        with pytest.raises(ScheduleError) as refused:
            await apply_schedule(planning, wrong, "schedule.toml")
        assert {problem.code for problem in refused.value.problems} == {
            "weibo_text_too_long"
        }
        assert renderer.posts == posts


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_reload_holds_the_database_for_what_has_changed_alone(planner):  # noqa: F811
    """No unchanged post is compared in the transaction of a reload, as an intent waits for it."""
    await apply_schedule(planner, SCHEDULE, "schedule.toml")
    in_transaction = []

    def record(_connection, _cursor, statement, parameters, _context, _is_many):
        if threading.current_thread().name.startswith("writer"):
            in_transaction.append((statement, parameters))

    engine = planner.store.database.engine
    event.listen(engine, "before_cursor_execute", record)
    await apply_schedule(
        planner, SCHEDULE.replace(OTHER, OTHER.replace("警惕", "谨防")), "schedule.toml"
    )
    event.remove(engine, "before_cursor_execute", record)
    named = {value for _statement, values in in_transaction for value in values}
    assert {"original", "clear", "other"} & named == {"other"}
