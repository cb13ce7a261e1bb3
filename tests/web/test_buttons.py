"""Hints name commands on the command line and buttons on pages."""

import re

import pytest

from publisher.cli import COMMANDS
from publisher.domain.delivery import State
from publisher.domain.results import HoldReason
from publisher.i18n import LANGUAGES, Messages, load_catalogue

_NAMES = "|".join(sorted(COMMANDS, key=len, reverse=True))
COMMAND = re.compile(
    rf"\bpublisher (?:-C \S+ )?({_NAMES})\b(?:(?![.:] )[^。；;，,、）)\n])*"
)
HOST_COMMANDS = {
    *(
        "run",
        "init",
        "demo",
        "check",
        "doctor",
        "reload",
        "login",
        "secret",
        "backup",
        "restore",
        "rename-account",
    ),
    *("user", "duty", "audit", "alerts", "templates", "simulate"),
}
"""Commands for people on the host.

No page has a button that does the same.
"""
COMMAND_LINE_ONLY = re.compile(
    r"(?:cmd|opt)_\w+|\w+_(?:usage|needs_by|how)|demo_where|drill_made|workspace_made"
    r"|bad_target|account_needed"
    r"|preview_needs_account_and_by|ended_line|emergency_needs_reason|grant_incomplete"
    r"|sign_in_needed|token_of_another|token_not_enough|no_users"
)
"""Codes of a command's statements about itself and its user.

They are help, refusals of arguments, and sign-ins.
"""
LEFT_OVER = re.compile(r" --by\b|@账号|@ACCOUNT|[”.] ?@|\s--(?:reason|all|now|confirm)")
COMMANDS_OF_PAGES = (
    "publisher resolve",
    "publisher resend",
    "publisher resume",
    "publisher retract",
)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_page_names_no_command_that_has_a_button(lang):
    """A page names no command that has a button.

    Nobody in a browser is sent to a terminal for the action of a button, and no argument is left
    over.
    """
    codes = [
        *(f"state_{state}" for state in State),
        *(f"hold_{reason}" for reason in HoldReason),
    ]
    hints = [
        Messages(lang, names_buttons=True).hint(
            code, subject="p@a", post="p", account="a"
        )
        for code in codes
    ]
    named = [
        hint
        for hint in hints
        if any(command in hint for command in COMMANDS_OF_PAGES) or "--" in hint
    ]
    assert named == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_text_has_a_command_of_a_button_or_a_piece_of_one(lang):
    """Any text that a page may show has whole names of buttons.

    The remaining commands are for the host.
    """
    page, kept = Messages(lang, names_buttons=True), {}
    for code in load_catalogue():
        if COMMAND_LINE_ONLY.fullmatch(code):
            continue
        for text in (page.translate(code), page.hint(code)):
            named = {found[1] for found in COMMAND.finditer(text)} - HOST_COMMANDS
            if named or LEFT_OVER.search(COMMAND.sub("", text)):
                kept[code] = text
    assert kept == {}


SIGN_IN_CODES = (
    "sign_in_failed", "sign_in_delayed", "sign_in_ended", "second_factor_awaited",
    "second_factor_key_missing", "code_wrong", "password_too_short", "password_too_long",
    "password_guessable", "passwords_differ", "code_used",
)  # fmt: skip
"""The statements on the pages of a sign-in, to people without a terminal."""


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_stops_a_sign_in_names_no_command(lang):
    """A person that cannot sign in is sent to an administrator, not to a command.

    The texts say nothing that holds only for passwords.
    """
    said = [
        Messages(lang, names_buttons=True).translate(code, name="zhang", seconds="5")
        for code in SIGN_IN_CODES
    ]
    assert [
        text
        for text in said
        if COMMAND.search(text) or "--" in text or "elsewhere" in text
    ] == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("accounts_added_late", "要补发：按“重新发送”"),
        ("edited_after_end", "另写一条更正：按“发更正”；"),
        (
            "refresh_after_call",
            "不想让其余账号发出：按“撤回”；已发出的有误：按“发更正”。",
        ),
        (
            "account_left_settings",
            (
                "没有发的一并取消：请管理员办理移交；结果不明的，加回来由守护进程核实，"
                "或到平台上看过之后：按“没有，先不发”。"
            ),
        ),
        (
            "original_in_doubt",
            "已经发出的：按“就是这一条”，更正随后就发；确实没有：按“没有，先不发”。",
        ),
        ("removals_waiting", "确实要取消：请管理员在主机上确认"),
        ("restored_after_call", "先看结果：这一条的页面；确实要发：按“重新发送”"),
    ],
)
def test_a_command_with_all_its_arguments_becomes_a_button(code, said):
    """A command becomes a button with all its arguments, for any subject.

    No argument stays behind the name of the button.
    """
    page = Messages("zh_CN", names_buttons=True)
    assert said in page.translate(code) + page.hint(code)


def test_the_words_around_a_command_stay():
    """A command is replaced as a whole, with its arguments, and nothing else is."""
    page = Messages("zh_CN", names_buttons=True)
    text = page.hint("hold_poison", subject="p@a")
    assert "没有它再试：按“不是，再发”。" in text
    assert "publisher resolve p@a resend" in Messages("zh_CN").hint(
        "hold_poison", subject="p@a"
    )
