"""Facts of regions in regions.csv: read with exact places of mistakes, below publisher.toml."""

import pytest

from publisher.config import load_settings
from publisher.domain.errors import SettingsError
from publisher.tomlfile.region_rows import parse_regions

SETTINGS = """timezone = "Asia/Shanghai"
[region.310000]
police = "上海公安"
"""


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_each_row_is_a_region(mark):
    text = f'{mark}code,police,tip_line\r\n310000,"沪,公安",\r\n110000,北京公安,110\r\n'
    assert parse_regions(text) == {
        "310000": {"police": "沪,公安"},
        "110000": {"police": "北京公安", "tip_line": "110"},
    }


@pytest.mark.parametrize(
    ("text", "code", "line", "cell"),
    [
        ("name\n上海", "regions_without_code", 1, 1),
        ("code,name,name\n", "regions_column", 1, 3),
        ("name,code\n上海,3.1E+05", "regions_bad_code", 2, 2),
        ('code,name\n310000,"上\n海"\n31,x', "regions_bad_code", 4, 1),
        ("code,name\n310000,a\n310000,b", "regions_code_twice", 3, 1),
        ("code,name\n310000,a,b", "regions_row_too_long", 2, 3),
        ('code,name\n310000,"a', "regions_unreadable_row", 1, 1),
    ],
)
def test_a_mistake_is_located(text, code, line, cell):
    with pytest.raises(SettingsError) as caught:
        parse_regions(text)
    (problem,) = caught.value.problems
    place = problem.location
    assert (problem.code, place.line, place.column) == (code, line, cell)


async def test_the_settings_replace_single_facts_of_the_table(tmp_path):
    (tmp_path / "publisher.toml").write_text(SETTINGS, "utf-8")
    (tmp_path / "regions.csv").write_text(
        "code,police,tip_line\n310000,沪,021-1\n110000,京,010-1\n", "utf-8"
    )
    settings = await load_settings(tmp_path)
    assert settings.regions == {
        "310000": {"police": "上海公安", "tip_line": "021-1"},
        "110000": {"police": "京", "tip_line": "010-1"},
    }
