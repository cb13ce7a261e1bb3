"""How pages write lengths of time."""

from datetime import timedelta

import pytest

from publisher.web.kit.page import page_values
from publisher.web.kit.site import Visitor


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (timedelta(0), {"zh_CN": "0 秒", "en": "0 s"}),
        (timedelta(milliseconds=900), {"zh_CN": "0 秒", "en": "0 s"}),
        (timedelta(seconds=90), {"zh_CN": "1 分钟 30 秒", "en": "1 min 30 s"}),
        (timedelta(minutes=30), {"zh_CN": "30 分钟", "en": "30 min"}),
        (timedelta(hours=30), {"zh_CN": "1 天 6 小时", "en": "1 d 6 h"}),
        (timedelta(days=2, seconds=1), {"zh_CN": "2 天 1 秒", "en": "2 d 1 s"}),
    ],
)
async def test_templates_write_a_duration_in_words(site, length, shown):
    """Units without a number are left out, and a fraction of a second as well."""
    visitors = {lang: Visitor(site=site.app.state.site, lang=lang) for lang in shown}
    assert {
        lang: page_values(visitor)["duration"](length)
        for lang, visitor in visitors.items()
    } == shown
