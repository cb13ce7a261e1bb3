"""The addresses for monitoring: /healthz and /metrics."""

import json
import re
from datetime import timedelta
from pathlib import Path

from publisher.domain.user import Permission, RefusalKind
from publisher.store.backup_record import BackupRecord
from publisher.testing.builders import enqueue_posts, make_post

ROOT = Path(__file__).resolve().parents[2]
BOARD = ROOT / "docs" / "examples" / "grafana" / "publisher.json"
PAGE = ROOT / "docs" / "metrics.md"


async def test_health_is_that_of_the_daemon(site):
    """Health is that of the daemon, without a sign-in: 200 while its heart beats.

    It is 503 before a daemon runs and after it has fallen silent.
    """
    client, statuses = site.client(), []
    for step in ("never", "runs", "silent"):
        if step == "runs":
            await site.store.actions.register_worker()
        site.runtime.advance_time(timedelta(seconds=2 if step != "silent" else 60))
        statuses.append((await client.get("/healthz")).status_code)
    assert statuses == [503, 200, 503]


async def test_metrics_count_what_is_due(site):
    """The figures name the deliveries by platform and state, and whether everything is paused."""
    account = next(iter(site.store.policies))
    await enqueue_posts(site.store.posts, make_post("p", [account], site.runtime.now()))
    await site.store.maintenance.run()
    await site.store.actions.pause("all", site.actor, "x")
    site.runtime.advance_time(timedelta(seconds=30))
    text = (await site.client().get("/metrics")).text
    assert 'publisher_deliveries_open{platform="fake",state="due"} 1.0' in text
    assert "publisher_paused 1.0" in text
    assert "publisher_lateness_seconds 30.0" in text


async def test_the_age_of_the_last_backup_is_a_metric(site):
    """Without any backup there is no age."""
    text = (await site.client().get("/metrics")).text
    assert "\npublisher_backup_age_seconds " not in text
    made = BackupRecord(at=site.runtime.now(), place="h:/b")
    await site.store.last_backup.record(made)
    site.runtime.advance_time(timedelta(hours=1))
    text = (await site.client().get("/metrics")).text
    assert "publisher_backup_age_seconds 3600.0" in text


async def test_metrics_from_elsewhere_need_a_token(site):
    """Another machine gets the figures with a user's token only."""
    await site.signed_in("viewer", name="监控")
    token = await site.store.sign_ins.issue_token("监控", [Permission.VIEW], site.actor)
    client = site.client(address="10.0.0.9")
    statuses = [
        (await client.get("/metrics", headers=headers)).status_code
        for headers in (
            {},
            {"authorization": "Bearer x"},
            {"authorization": f"Bearer {token}"},
        )
    ]
    assert statuses == [401, 401, 200]


async def test_a_token_for_some_accounts_gets_no_figure_of_other_people(site):
    """A token for some accounts gets no figure of other people.

    Refusals of people are counted for the whole workspace. Only a viewer of all of it gets the
    numbers.
    """
    await site.store.users.attempts.record_refusal(
        RefusalKind.PASSWORD, "nobody", "address 10.0.0.1", 7
    )
    account, texts = next(iter(site.store.policies)), []
    for name, grant in (("一处", f"viewer@{account}"), ("全部", "viewer")):
        await site.signed_in(grant, name=name)
        token = await site.store.sign_ins.issue_token(
            name, [Permission.VIEW], site.actor
        )
        texts.append(
            (
                await site.client().get(
                    "/metrics", headers={"authorization": f"Bearer {token}"}
                )
            ).text
        )
    assert ["publisher_refusals" in text for text in texts] == [False, True]
    assert 'publisher_refusals_total{kind="password"} 7.0' in texts[1]


async def test_the_page_on_metrics_describes_each_one(site):
    """The page has one row for each metric of publisher, with its type and its help text."""
    await site.store.actions.register_worker()
    text, page = (await site.client().get("/metrics")).text, PAGE.read_text("utf-8")
    types = dict(re.findall(r"^# TYPE (publisher_\w+) (\w+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (publisher_\w+) (.+)$", text, re.MULTILINE))
    rows = re.findall(
        r"^\| `(publisher_\w+)` \| (\w+) \|[^|]*\| [^|]+ \| ([^|]+) \|$",
        page,
        re.MULTILINE,
    )
    assert sorted(rows) == sorted((name, types[name], helps[name]) for name in types)
    kinds = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)
    assert kinds == list(RefusalKind)


async def test_board_and_rules_ask_for_figures_that_exist(site):
    """Every figure of the Grafana board, and of the page's rules, is one that /metrics has."""
    account = next(iter(site.store.policies))
    await enqueue_posts(site.store.posts, make_post("p", [account], site.runtime.now()))
    await site.store.actions.register_worker()
    text = (await site.client().get("/metrics")).text
    known = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    panels = json.dumps(json.loads(BOARD.read_text("utf-8"))["panels"])
    rules = "\n".join(re.findall(r"^ +expr: .+", PAGE.read_text("utf-8"), re.MULTILINE))
    for source in (panels, rules):
        asked = set(re.findall(r"publisher_\w+", source))
        assert asked
        assert asked <= known
