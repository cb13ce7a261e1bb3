"""Weibo's way of counting, by the vectors of its own composer."""

import pytest

from adapters.weibo.capabilities import (
    HALF_WIDTH_ASCII,
    HALF_WIDTH_LATIN_1,
    HTTP_LINK,
    HTTP_OR_HTTPS_LINK,
    count_characters,
    measure,
)

RAIN = "雨"
VECTORS = [
    (1, "", 0, 0, 0),
    (2, "a", 1, 1, 1),
    (3, "ab", 1, 1, 1),
    (4, "abc", 2, 2, 2),
    (5, RAIN, 1, 1, 1),
    (6, "雨a", 2, 2, 2),
    (7, "雨ab", 2, 2, 2),
    (8, RAIN * 140, 140, 140, 140),
    (9, RAIN * 141, 141, 141, 141),
    (10, "a" * 280, 140, 140, 140),
    (11, "a" * 281, 141, 141, 141),
    (12, RAIN * 139 + "ab", 140, 140, 140),
    (13, RAIN * 139 + "abc", 141, 141, 141),
    (14, "１２３", 3, 3, 3),
    (15, "，。！", 3, 3, 3),
    (16, "\u3000", 1, 1, 1),
    (17, "\n", 1, 1, 1),
    (18, "\r\n", 1, 1, 1),
    (19, "\n\n", 1, 1, 1),
    (20, "25℃", 2, 2, 2),
    (21, "“a”", 3, 3, 3),
    (22, "éé", 1, 1, 2),
    (23, "25°25°", 3, 3, 4),
    (24, "#暴雨预警#", 5, 5, 5),
    (25, "[微笑]", 3, 3, 3),
    (26, "😀", 2, 2, 2),
    (27, "⚠️", 2, 2, 2),
    (28, "🇨🇳", 4, 4, 4),
    (29, "👨\u200d👩\u200d👧", 8, 8, 8),
    (30, "𠮷", 2, 2, 2),
    (31, "http://a.gov.cn", 10, 10, 10),
    (32, "https://a.gov.cn", 10, 8, 10),
    (33, "https://a.gov.cn/" + "x" * 43, 10, 30, 10),
    (34, "http://a.gov.cn/" + "x" * 124, 10, 10, 10),
    (35, "http://a.gov.cn/" + "x" * 125, 11, 11, 11),
    (36, "http://a.gov.cn/" + "x" * 184, 40, 40, 40),
    (37, "http://t.cn/A6abCDeF", 10, 10, 10),
    (38, "http://weibo.com/" + "x" * 24, 21, 21, 21),
    (39, "http://weibo.com/" + "x" * 25, 10, 10, 10),
    (40, "http://www.weibo.com", 10, 10, 10),
    (41, "http://yjj-x.gov.cn/a", 11, 11, 11),
    (42, "http://localhost/x", 9, 9, 9),
    (43, "www.a.gov.cn", 6, 6, 6),
    (44, "http://a.gov.cn/1.", 10, 10, 10),
    (45, "http://a.gov.cn/1。", 11, 11, 11),
    (46, "http://a.gov.cn/1详情", 12, 12, 12),
    (47, "http://a.gov.cn/1 http://a.gov.cn/1", 21, 21, 21),
    (48, RAIN * 129 + " https://a.gov.cn/1", 140, 139, 140),
    (49, RAIN * 130 + "https://a.gov.cn/1", 140, 139, 140),
    (50, RAIN * 131 + "https://a.gov.cn/1", 141, 140, 141),
]


@pytest.mark.parametrize(("number", "text", "both", "only_http", "ascii_only"), VECTORS)
def test_counting_agrees_with_the_published_counters(
    number, text, both, only_http, ascii_only
):
    """Each version of the counter gives its published value.

    Our count is never smaller than any of them.
    """
    assert count_characters(text, HTTP_OR_HTTPS_LINK, HALF_WIDTH_LATIN_1) == both, (
        number
    )
    assert count_characters(text, HTTP_LINK, HALF_WIDTH_LATIN_1) == only_http, number
    assert count_characters(text, HTTP_OR_HTTPS_LINK, HALF_WIDTH_ASCII) == ascii_only, (
        number
    )
    assert measure(text) >= max(both, only_http, ascii_only)
