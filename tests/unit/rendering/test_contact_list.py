"""The list of public numbers: the shipped one, and the workspace's over it."""

from datetime import UTC, datetime, timedelta

import pytest

from publisher.domain.contacts import choose_contacts, names_number
from publisher.domain.errors import Severity
from publisher.rendering.contact_list import (
    read_contacts,
    shipped_contacts,
    shipped_laws,
)
from publisher.schedule.warnings import find_old_contacts

REGION = {"police": "示例市公安局", "hotline": "110", "tip_line": "110"}
OWN = """
checked = 2027-05-01
phones = ["010-55550110"]
[topic.fraud]
short = "被骗请拨打{hotline}。"
lines = [{ number = "{hotline}", use = "立即拨打。" }]
[topic.harbour]
short = "海上求助请拨打12395。"
"""


def test_a_workspace_adds_and_replaces_topics(tmp_path):
    """Its topics, numbers and day of checking stand over the shipped ones."""
    file = tmp_path / "contacts.toml"
    file.write_text(OWN, "utf-8")
    contacts, problems = read_contacts(file)
    assert problems == ()
    assert choose_contacts(contacts, "fraud", REGION)["short"] == "被骗请拨打110。"
    harbour = choose_contacts(contacts, "harbour", REGION)["short"]
    assert harbour.startswith("海上求助请拨打12395")
    assert contacts.topics["drugs"] == shipped_contacts().topics["drugs"]
    assert (contacts.checked.isoformat(), contacts.phones) == (
        "2027-05-01",
        ("010-55550110",),
    )


@pytest.mark.parametrize(
    "text", ["checked = 1", "[topic.fraud]\nlong = 'x'", "phones = [", "topics = 1"]
)
def test_a_wrong_list_is_named_and_the_shipped_one_stands(tmp_path, text):
    """A mistake in the file stops no post that has the shipped numbers."""
    file = tmp_path / "contacts.toml"
    file.write_text(text, "utf-8")
    contacts, problems = read_contacts(file)
    assert contacts == shipped_contacts()
    assert problems[0].location.file == str(file)


def test_a_region_may_replace_a_number_but_not_its_purpose():
    """The line for advice on fraud of a region stands in place of 96110."""
    region = {**REGION, "anti_fraud": "010-96110"}
    chosen = choose_contacts(shipped_contacts(), "fraud", region)
    assert "咨询010-96110" in chosen["short"]
    assert [number for number, _use in chosen["lines"]] == ["110", "010-96110", "12381"]


def test_a_number_within_a_longer_one_is_not_named():
    """96110 does not name 110."""
    assert not names_number("咨询96110", "110")
    assert names_number("请拨打110。", "110")


def test_a_list_that_nobody_checked_for_a_year_is_reported():
    """`check` warns once the day of checking is more than a year ago."""
    contacts = shipped_contacts()
    checked = datetime.combine(contacts.checked, datetime.min.time(), UTC)
    assert find_old_contacts(contacts, checked + timedelta(days=365)) == []
    [problem] = find_old_contacts(contacts, checked + timedelta(days=366))
    assert (problem.code, problem.severity) == ("contacts_old", Severity.WARNING)


def test_one_article_on_rumours_is_in_force_on_each_day():
    """The article of the revised law begins on the day after the earlier one ends."""
    earlier, later = sorted(
        (law for law in shipped_laws() if law.name == "治安管理处罚法"),
        key=lambda law: law.since,
    )
    assert earlier.until + timedelta(days=1) == later.since
