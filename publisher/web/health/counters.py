"""Counters for Prometheus: calls by outcome, their durations, and deliveries that ended."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from publisher.app.build import program_build
from publisher.domain.account import AccountId
from publisher.store.queries.counters import (
    DURATION_BUCKETS,
    Counters,
    Durations,
    sum_by_platform,
)
from publisher.web.kit.site import Site

BUCKET_LABELS = (*map(str, DURATION_BUCKETS), "+Inf")


async def describe_counters(
    site: Site, accounts: frozenset[AccountId] | None
) -> list[Metric]:
    """Return the counters of accounts, by default of all in the settings.

    For all accounts they include the build of this program and the size of the database.
    """
    counters = await site.store.counters.read()
    platforms = {
        account.id: str(account.platform)
        for account in site.settings.accounts.values()
        if accounts is None or account.id in accounts
    }
    metrics = [*list_counters(counters, platforms)]
    if accounts is None:
        size = await site.store.counters.database_size()
        metrics.append(
            GaugeMetricFamily(
                "publisher_database_size_bytes",
                "Size of the database",
                value=size,
            )
        )
        build = GaugeMetricFamily(
            "publisher_build_info", "1, with the version in use", labels=["version"]
        )
        build.add_metric([program_build()], 1)
        metrics.append(build)
    return metrics


def list_counters(
    counters: Counters, platforms: Mapping[AccountId, str]
) -> Iterator[Metric]:
    calls = CounterMetricFamily(
        "publisher_calls",
        "Calls to publish that have ended",
        labels=["platform", "outcome"],
    )
    endings = CounterMetricFamily(
        "publisher_deliveries_ended",
        "Deliveries that have reached a state that ends them",
        labels=["platform", "state"],
    )
    for family, numbers in ((calls, counters.calls), (endings, counters.endings)):
        for labels, number in sum_by_platform(numbers, platforms).items():
            family.add_metric(list(labels), number)
        yield family
    yield measure_durations(counters, platforms)


def measure_durations(
    counters: Counters, platforms: Mapping[AccountId, str]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(
        "publisher_call_duration_seconds",
        "Time from the intent of a call to publish to its outcome",
        labels=["platform"],
    )
    by_platform: defaultdict[str, Durations] = defaultdict(Durations)
    for account, durations in counters.durations.items():
        if account in platforms:
            by_platform[platforms[account]].add_all(durations)
    for platform, durations in by_platform.items():
        numbers = accumulate(durations.counts)
        buckets = list(zip(BUCKET_LABELS, numbers, strict=True))
        family.add_metric([platform], buckets=buckets, sum_value=durations.seconds)
    return family
