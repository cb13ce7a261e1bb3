"""A certificate that ends soon is an alert, two weeks before browsers refuse the dashboard."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from publisher.app.offline import find_certificate_problems
from publisher.engine.certificates import check_certificates
from publisher.settings_file import AlertsEntry, DashboardEntry
from publisher.testing.builders import make_policy
from tests.alerts.receivers import make_certificate
from tests.engine.settings import make_settings

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def settings(tmp_path):
    """Return settings with a certificate for one day."""
    certificate = make_certificate(
        "localhost", ec.generate_private_key(ec.SECP256R1()), None
    )
    data = certificate.public_bytes(serialization.Encoding.PEM)
    (tmp_path / "chain.pem").write_bytes(data)
    entry = DashboardEntry(certificate="chain.pem", key="key.pem")
    return make_settings(tmp_path, dashboard=entry)


def codes_at(settings, offset):
    problems = find_certificate_problems(settings, datetime.now(UTC) + offset)
    return [(problem.code, problem.is_error) for problem in problems]


def test_check_warns_of_an_end_within_two_weeks_and_rejects_an_expired_one(settings):
    assert codes_at(settings, -14 * DAY) == []
    assert codes_at(settings, timedelta(0)) == [("certificate_ends_soon", False)]
    assert codes_at(settings, DAY + MINUTE) == [("certificate_expired", True)]


def test_a_file_without_a_certificate_is_an_error(settings):
    (settings.workspace / "chain.pem").write_text("no certificate", "utf-8")
    assert codes_at(settings, timedelta(0)) == [("certificate_unreadable", True)]


def test_the_trusted_certificates_of_the_channels_count_too(settings):
    """A list of trusted certificates is of use until the last of them ends."""
    alerts = AlertsEntry(ca_file="chain.pem")
    other = replace(settings, dashboard=DashboardEntry(), alerts=alerts)
    assert codes_at(other, DAY + MINUTE) == [("certificate_expired", True)]


async def test_a_certificate_that_ends_is_an_alert_and_another_notice_at_its_end(
    open_store, runtime, settings
):
    """The alert ends once another certificate is in place."""
    store = await open_store(make_policy("a"))
    runtime.advance_time(datetime.now(UTC) - runtime.now())

    async def alerted():
        await check_certificates(store, settings)
        alerts = await store.queries.alerts()
        return [one for one in alerts if one.code == "certificate_expiring"]

    [soon] = await alerted()
    runtime.advance_time(DAY + MINUTE)
    [ended] = await alerted()
    assert ended.facts["until"] == soon.facts["until"]
    assert ended.facts["since"] == soon.facts["until"]
    (settings.workspace / "chain.pem").unlink()
    assert await alerted() == []
