"""Hints name commands on the command line and buttons on pages."""

import pytest

from publisher.domain.delivery import State
from publisher.domain.results import HoldReason
from publisher.i18n import LANGUAGES, Messages

COMMANDS_OF_PAGES = ("publisher resolve", "publisher resend", "publisher resume", "publisher retract")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_page_names_no_command_that_has_a_button(lang):
    """Nobody who works in a browser is sent to a terminal for what a button does, and no argument is left over."""
    codes = [*(f"state_{state}" for state in State), *(f"hold_{reason}" for reason in HoldReason)]
    hints = [Messages(lang, names_buttons=True).hint(code, subject="p@a", post="p", account="a") for code in codes]
    named = [hint for hint in hints if any(command in hint for command in COMMANDS_OF_PAGES) or "--" in hint]
    assert named == []


def test_the_words_around_a_command_stay():
    """A command is replaced as a whole, with its arguments, and nothing else is."""
    page = Messages("zh_CN", names_buttons=True)
    text = page.hint("hold_poison", subject="p@a")
    assert "没有它再试：按“不是，再发”。" in text
    assert "publisher resolve p@a resend" in Messages("zh_CN").hint("hold_poison", subject="p@a")
