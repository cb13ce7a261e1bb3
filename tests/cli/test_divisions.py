"""`check` compares the codes of regions with the official list of divisions."""

from publisher.app.divisions import fits, list_names, read_divisions


def find_warnings(run, workspace, regions, table=""):
    """Return the code, place and text of each problem of a region."""
    file = workspace / "publisher.toml"
    file.write_text(file.read_text("utf-8") + regions, "utf-8")
    if table:
        (workspace / "regions.csv").write_text(table, "utf-8")
    checked = run("-C", workspace, "--lang", "en", "check", "--json")
    return [
        (one["code"], one["file"].rpartition("/")[2], one["message"], one["severity"])
        for one in checked.json["problems"]
        if one["code"].startswith("region_")
    ]


def test_a_code_off_the_list_is_a_warning_with_the_divisions_of_its_name(
    run, workspace
):
    """A mistyped code is found in either file; what the agency meant is named."""
    own = '\n[region.310116]\npolice = "甲"\n[region.310191]\npolice = "乙"\nname = "浦东"\n'
    table = "code,name,police\n991234,某地,丙\n"
    found = find_warnings(run, workspace, own, table)
    assert [one[:2] for one in found] == [
        ("region_not_listed", "publisher.toml"),
        ("region_not_listed", "regions.csv"),
    ]
    assert "310191" in found[0][2]
    assert {one[3] for one in found} == {"warning"}


def test_a_code_of_another_place_than_its_name_is_a_warning(run, workspace):
    """The code decides on the region, the name is printed: they have to be of one place."""
    own = '\n[region.440300]\npolice = "甲"\nname = "广州"\n'
    [(code, _file, message, _severity)] = find_warnings(run, workspace, own)
    assert code == "region_named_otherwise"
    assert "广东省深圳市" in message


def test_short_names_fit_their_divisions():
    """A short form has characters of the official names from the province down, in their order."""
    short = {
        "310115": "上海浦东",
        "652800": "巴州",
        "429004": "仙桃",
        "150000": "内蒙古",
    }
    assert all(fits(name, "".join(list_names(code))) for code, name in short.items())
    assert not fits("上海", "".join(list_names("110000")))


def test_the_list_has_provinces_cities_and_counties():
    """Codes have six digits; provinces, the special regions and counties without a city are there."""
    divisions = read_divisions()
    assert all(len(code) == 6 and code.isdigit() for code in divisions)
    assert sum(code.endswith("0000") for code in divisions) == 34
    assert divisions["441900"] == "东莞市"
    assert divisions["659001"] == "石河子市"
