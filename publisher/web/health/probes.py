"""Monitoring endpoints: the state of the daemon, and figures for Prometheus."""

import asyncio
import ipaddress
from collections.abc import Iterator, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from publisher.app.format import credential_days_left
from publisher.domain.account import AccountId, Mode
from publisher.domain.results import Healthy
from publisher.domain.user import Permission, RefusalKind
from publisher.engine.disk_space import measure_disks
from publisher.runtime.logs import log
from publisher.store.queries.dashboard import Figures
from publisher.web.health.counters import describe_counters
from publisher.web.kit.access import find_source
from publisher.web.kit.frame import read_frame_facts
from publisher.web.kit.site import Site, find_reach, get_site

FIGURES_LIFETIME_SECONDS = 5.0
"""How long figures are kept, however often they are asked for."""


async def show_health(request: Request) -> Response:
    """Answer 200 while a daemon's heartbeats arrive, else 503 with what is known.

    Without the database, or a heartbeat, a daemon may run all the same.
    """
    try:
        daemon = (await read_frame_facts(get_site(request))).daemon
    except Exception as error:  # noqa: BLE001 # whatever is wrong, a monitor needs its documented answer
        log.warning("health_unknown", error=type(error).__name__)
        text = "the database cannot be read, so the daemon's state is not known"
        return PlainTextResponse(f"{text}\n", status_code=503)
    if daemon.is_running:
        return PlainTextResponse("ok\n")
    if daemon.heartbeat_at is None:
        text = "no daemon has run yet"
    else:
        at = daemon.heartbeat_at.isoformat(timespec="seconds")
        text = (
            f"no heartbeat since {at}: no daemon runs, or it cannot write the database"
        )
    return PlainTextResponse(f"{text}\n", status_code=503)


async def show_metrics(request: Request) -> Response:
    """Return all figures to this machine, and to others the ones that a token's user may see."""
    site, token = get_site(request), read_token(request)
    principal = await site.store.sign_ins.find_token(token) if token else None
    may_see = (
        principal.may_somewhere(Permission.VIEW)
        if principal is not None
        else is_local(request) and not token
    )
    if token and principal is None:
        await site.store.users.attempts.note_refusal(
            RefusalKind.TOKEN, "", find_source(request)
        )
    if not may_see:
        return PlainTextResponse(
            "", status_code=401, headers={"www-authenticate": "Bearer"}
        )
    reach = None if principal is None else find_reach(site, principal, Permission.VIEW)
    text = site.caches.metrics.get(reach, FIGURES_LIFETIME_SECONDS)
    if text is None:
        text = await measure(site, reach)
        site.caches.metrics.set(reach, text)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def is_local(request: Request) -> bool:
    """Return True if a request was made on this machine.

    It is False if a proxy on this machine passes on another's request.
    """
    is_passed_on = (
        get_site(request).settings.dashboard.proxy is not None
        and request.url.scheme == "https"
    )
    try:
        is_loopback = (
            request.client is not None
            and ipaddress.ip_address(request.client.host).is_loopback
        )
    except ValueError:
        return False
    return is_loopback and not is_passed_on


def read_token(request: Request) -> str:
    """Return the token that a request carries, empty for none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def measure(site: Site, accounts: frozenset[AccountId] | None) -> bytes:
    """Return the figures in the format of Prometheus, of the database and of this process.

    If accounts are given, only figures about these are returned.
    """
    figures = await site.store.dashboard.figures(accounts)
    registry = CollectorRegistry()
    disks = await asyncio.to_thread(describe_disks, site) if accounts is None else []
    registry.register(
        FigureCollector(
            figures,
            [
                *await describe_accounts(site, accounts),
                *await describe_counters(site, accounts),
                *disks,
            ],
        )
    )
    return generate_latest(registry) + generate_latest(REGISTRY)


async def describe_accounts(
    site: Site, accounts: frozenset[AccountId] | None
) -> list[Metric]:
    """Return the figures of accounts that are not off: login, its days left, and today's quota."""
    labels = ["account", "platform"]
    healthy = GaugeMetricFamily(
        "publisher_account_login_ok", "1 if its last check was fine", labels=labels
    )
    days = GaugeMetricFamily(
        "publisher_account_days_left",
        "Days until the credentials expire",
        labels=labels,
    )
    quota = GaugeMetricFamily(
        "publisher_account_quota_left",
        "Posts that may still be sent today",
        labels=labels,
    )
    for item in await site.store.login_health.list_accounts():
        if item.mode is Mode.OFF or not (
            accounts is None or item.account.id in accounts
        ):
            continue
        values = [item.account.id, item.account.platform]
        quota.add_metric(values, item.quota_left)
        if item.health is not None:
            healthy.add_metric(values, float(isinstance(item.health, Healthy)))
        if (left := credential_days_left(item.health, site.runtime.now())) is not None:
            days.add_metric(values, left)
    return [healthy, days, quota]


def describe_disks(site: Site) -> list[Metric]:
    """Return the free space of the disks of this host that publisher writes to."""
    free = GaugeMetricFamily(
        "publisher_disk_free_bytes",
        "Free space on this host's disk of a place",
        labels=["place"],
    )
    for place, disk in measure_disks(site.settings).items():
        free.add_metric([place], disk.free)
    return [free]


class FigureCollector(Collector):
    """Passes on figures that were read before: a scrape reads the database once."""

    def __init__(self, figures: Figures, accounts: list[Metric]) -> None:
        self.figures = figures
        self.accounts = accounts

    def collect(self) -> Iterator[Metric]:
        figures = self.figures
        yield gauge(
            "publisher_up", "1 while a daemon runs", float(figures.daemon.is_running)
        )
        if figures.heartbeat_age is not None:
            age = figures.heartbeat_age.total_seconds()
            yield gauge(
                "publisher_heartbeat_age_seconds",
                "Time since the last heartbeat of a daemon",
                age,
            )
        workers = GaugeMetricFamily(
            "publisher_worker_heartbeat_age_seconds",
            "Time since the last heartbeat of each daemon that was not stopped, for 30 days at most",
            labels=["worker"],
        )
        for worker, silence in figures.heartbeat_ages.items():
            workers.add_metric([worker], silence.total_seconds())
        yield workers
        backup = GaugeMetricFamily(
            "publisher_backup_age_seconds",
            "Time since the last good backup of the database",
            labels=(),
        )
        if figures.backup_age is not None:
            backup.add_metric((), figures.backup_age.total_seconds())
        yield backup
        yield gauge(
            "publisher_paused", "1 while everything is paused", float(figures.is_paused)
        )
        yield gauge(
            "publisher_paused_accounts",
            "Accounts that are paused",
            figures.paused_accounts,
        )
        late = figures.lateness.total_seconds()
        yield gauge(
            "publisher_lateness_seconds",
            "How late the delivery is that has been due for longest",
            late,
        )
        for name, text, counts in (
            (
                "publisher_deliveries_open",
                "Deliveries that have not ended",
                figures.open_deliveries,
            ),
            (
                "publisher_deliveries_day",
                "Deliveries due within the last 24 hours",
                figures.recent_deliveries,
            ),
        ):
            family = GaugeMetricFamily(name, text, labels=["platform", "state"])
            for (platform, state), number in counts.items():
                family.add_metric([platform, state], number)
            yield family
        alerts = GaugeMetricFamily(
            "publisher_alerts_open",
            "Open alerts that nobody has acknowledged, or for too long",
            labels=["code"],
        )
        for code, number in figures.alerts.items():
            alerts.add_metric([code], number)
        yield alerts
        if figures.refusals is not None:
            yield count_refusals(figures.refusals)
        yield from self.accounts


def count_refusals(refusals: Mapping[str, int]) -> CounterMetricFamily:
    text = "Passwords, codes, tokens, actions and approvals refused to people"
    family = CounterMetricFamily("publisher_refusals", text, labels=["kind"])
    for kind in RefusalKind:
        family.add_metric([kind], refusals.get(kind, 0))
    return family


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
