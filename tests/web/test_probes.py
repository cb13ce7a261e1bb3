"""The addresses for monitoring: /healthz and /metrics."""

import json
import re
from datetime import timedelta
from pathlib import Path

from publisher.domain.results import Published, Receipt, Rejected
from publisher.domain.user import Permission, RefusalKind
from publisher.store.backup_record import BackupRecord
from publisher.store.base import FORGOTTEN_AFTER
from publisher.testing.builders import enqueue_posts, make_post
from publisher.web.health import counters

ROOT = Path(__file__).resolve().parents[2]
BOARD = ROOT / "docs" / "examples" / "grafana" / "publisher.json"
RULES = ROOT / "docs" / "examples" / "prometheus" / "publisher.yml"
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


async def test_a_host_that_is_removed_has_no_heartbeat_metric(site):
    """The age of its last heartbeat is no alarm for ever; `worker_lost` ends then too."""
    await site.store.actions.register_worker()
    name = "publisher_worker_heartbeat_age_seconds{"
    site.runtime.advance_time(FORGOTTEN_AFTER)
    assert name in (await site.client().get("/metrics")).text
    site.runtime.advance_time(timedelta(minutes=1))
    assert name not in (await site.client().get("/metrics")).text


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
    """A token for some accounts gets no figure of the whole workspace.

    These are refusals of people, names of hosts and folders, and the age of the backup. Only a
    viewer of all accounts gets them.
    """
    await site.store.actions.register_worker()
    made = BackupRecord(at=site.runtime.now(), place="h:/b")
    await site.store.last_backup.record(made)
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
    for figure in ("publisher_refusals", "{worker=", "\npublisher_backup_age_seconds "):
        assert [figure in text for text in texts] == [False, True]
    assert 'publisher_refusals_total{kind="password"} 7.0' in texts[1]


async def test_calls_and_endings_are_counted_by_platform_with_their_durations(site):
    """Each call counts once, however often it is read: by its outcome, with its duration.

    One that is open is not counted yet; one whose process died counts as unknown later.
    """
    accounts = list(site.store.policies)
    posts = [make_post(f"p{one}", accounts[:1], site.runtime.now()) for one in "abc"]
    await enqueue_posts(site.store.posts, *posts)
    await site.store.maintenance.run()
    receipt = Receipt(
        remote_id="1", url="https://fake.example/1", published_at=site.runtime.now()
    )
    outcomes = [
        Published(receipt=receipt),
        Rejected(code="x", reason="no"),
    ]
    read = []
    for outcome in [*outcomes, None]:
        [lease] = await site.store.outbox.claim(1)
        await site.store.outbox.record_intent(lease)
        site.runtime.advance_time(timedelta(seconds=3))
        if outcome is not None:
            await site.store.outbox.record_outcome(lease, outcome)
        read.append((await site.client().get("/metrics")).text)
        site.runtime.advance_time(timedelta(minutes=10))
    site.runtime.advance_time(timedelta(hours=2))
    read.append((await site.client().get("/metrics")).text)
    counts = [
        dict(re.findall(r'publisher_calls_total{outcome="(\w+)",.*} (\S+)', text))
        for text in read
    ]
    assert counts[0] == {"published": "1.0"}
    assert counts[1] == counts[2] == {"published": "1.0", "rejected": "1.0"}
    assert counts[3] == {"published": "1.0", "rejected": "1.0", "unknown": "1.0"}
    last = read[-1]
    assert 'ended_total{platform="weibo",state="published"} 1.0' in last
    assert 'ended_total{platform="weibo",state="failed"} 1.0' in last
    assert 'duration_seconds_bucket{le="2.5",platform="weibo"} 0.0' in last
    assert 'duration_seconds_bucket{le="5.0",platform="weibo"} 2.0' in last
    assert 'duration_seconds_sum{platform="weibo"} 6.0' in last
    assert re.search(r'publisher_build_info{version="[\d.]+.*"} 1.0', last)
    assert re.search(r"^publisher_database_size_bytes [1-9]", last, re.MULTILINE)


async def test_two_builds_of_one_version_have_two_infos(site, monkeypatch):
    """The version has the commit of the build: hosts of two builds differ in it."""
    build = "0.1.0 (commit 3f0c9a51d27e)"
    monkeypatch.setattr(counters, "program_build", lambda: build)
    text = (await site.client().get("/metrics")).text
    assert f'publisher_build_info{{version="{build}"}} 1.0' in text


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
    """Every figure of the Grafana board, and of the rules, is one that /metrics has."""
    account = next(iter(site.store.policies))
    await enqueue_posts(site.store.posts, make_post("p", [account], site.runtime.now()))
    await site.store.actions.register_worker()
    text = (await site.client().get("/metrics")).text
    known = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    panels = json.dumps(json.loads(BOARD.read_text("utf-8"))["panels"])
    for source in (panels, RULES.read_text("utf-8")):
        asked = {
            name.removesuffix("_bucket")
            for name in re.findall(r"publisher_\w+", source)
        }
        assert asked
        assert asked <= known


def test_the_page_shows_the_rules_of_the_file():
    """The rules on the page are the file that an operator copies."""
    block = re.compile(r"^```yaml\n(.+?)^```", re.MULTILINE | re.DOTALL)
    assert block.findall(PAGE.read_text("utf-8")) == [RULES.read_text("utf-8")]
