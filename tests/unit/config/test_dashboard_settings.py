"""Where the dashboard may listen: other machines reach it by TLS only."""

import pytest

from publisher.config import parse_settings
from publisher.domain.errors import SettingsError
from tests.unit.config.test_settings import WORKSPACE


def problems_of(lines):
    try:
        parse_settings("[dashboard]\n" + lines, workspace=WORKSPACE)
    except SettingsError as error:
        return [(problem.code, problem.location.path) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("lines", "code", "key"),
    [
        ('listen = "0.0.0.0:8700"', "dashboard_unprotected", "listen"),
        ('listen = "10.0.0.2:8700"', "dashboard_unprotected", "listen"),
        ('certificate = "c.pem"', "dashboard_tls_incomplete", "certificate"),
        ('key = "k.pem"', "dashboard_tls_incomplete", "key"),
        ('proxy = "nginx"\nurl = "https://a.gov.cn"', "dashboard_bad_proxy", "proxy"),
        ('proxy = "10.0.0.1"', "dashboard_proxy_without_url", "proxy"),
        (
            'proxy = "10.0.0.1"\nurl = "http://a.gov.cn"',
            "dashboard_url_not_https",
            "url",
        ),
        ('url = "https://a.gov.cn"', "dashboard_url_needs_tls", "url"),
        ('url = "a.gov.cn"', "dashboard_bad_url", "url"),
        (
            'proxy = "10.0.0.1"\nurl = "https://a.gov.cn/publish"',
            "dashboard_bad_url",
            "url",
        ),
    ],
)
def test_an_address_that_would_be_unsafe_is_a_problem(lines, code, key):
    """Each mistake about the address is reported at its key."""
    assert problems_of(lines) == [(code, f"dashboard.{key}")]


@pytest.mark.parametrize(
    "lines",
    [
        'listen = "127.0.0.1:9000"',
        'listen = "[::1]:9000"',
        'listen = "0.0.0.0:443"\ncertificate = "c.pem"\nkey = "k.pem"',
        'listen = "127.0.0.1:9000"\nproxy = "127.0.0.1"\nurl = "https://a.gov.cn/"',
    ],
)
def test_a_safe_address_is_accepted(lines):
    """This machine alone, TLS of our own, and a proxy that brings it are all safe."""
    assert problems_of(lines) == []
