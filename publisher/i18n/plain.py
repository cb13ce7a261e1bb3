"""Texts of the catalogue for staff, who have neither a shell nor the files of a workspace."""

import re
from collections.abc import Mapping
from functools import lru_cache

FILES: Mapping[str, Mapping[str, str]] = {
    "zh_CN": {
        "在 schedule.toml 里用新的编号另写一条，to 只写没有发出的账号": (
            "按“修改后只在未发出的账号重发”"
        ),
        "schedule.toml": "发布计划",
        "publisher.toml": "系统设置",
        "publisher.db": "数据库",
        "intents.jsonl": "发送日志",
        "access_token": "令牌",
    },
    "en": {
        "write the post in schedule.toml under a new id, with only the accounts that lack it in `to`": (
            "press “Correct and send only where it failed”"
        ),
        "schedule.toml": "the schedule",
        "publisher.toml": "the settings file",
        "publisher.db": "the database",
        "intents.jsonl": "the journal",
        "access_token": "token",
    },
}
"""What staff call the files of a workspace, and what is in them. A sentence stands before its words."""
SHELL = r"\b(?:timedatectl|systemctl|journalctl|pg_dump|pg_restore|(?:find|df) -|command why|why 命令)"
"""Commands of the system in texts of the catalogue."""
_PATHS = re.compile(r"[ （(]*\bvar/[\w.-]+(?:(?:、|, | and )var/[\w.-]+)*[）)]?")
_IN_BRACKETS = re.compile(r" ?（[^（）]*）| ?\([^()]*\)")
_CLAUSE = re.compile(r".+?(?:[。；;\n] ?|\.(?= |$) ?|$)", re.DOTALL)
_CODES = re.compile(r" ?[（(](?:[a-z]+(?:_[a-z]+)+|api|assisted|off)[）)]")
_MANUAL = re.compile(r" ?\bdocs/[\w.#-]+\w ?(?=的|[。；）])|\bdocs/[\w.#-]+\w")
_CUT = re.compile(r"[，,：:][^，,：:]*$")
_END = re.compile(r"[：:，,、；;（(\s]+$")
_BEGINNING = re.compile(r"(?<=\. )[a-z]")


@lru_cache(maxsize=8192)
def name_files(text: str, lang: str) -> str:
    """Return a text with words in place of the names of files."""
    text = _CODES.sub("", _PATHS.sub("", text))
    text = _MANUAL.sub("说明书" if lang == "zh_CN" else "the manual", text)
    for file, name in FILES[lang].items():
        space = " ?" if lang == "zh_CN" else ""
        text = re.sub(rf"{space}\b{re.escape(file)}{space}", name, text)
    return text[:1].upper() + text[1:] if text.startswith("the ") else text


@lru_cache(maxsize=4096)
def leave_out_commands(text: str, commands: re.Pattern[str]) -> str | None:
    """Return a text without the sentences that need a command; None if there are none.

    A command in brackets leaves with its brackets alone. Of the only sentence the words before the
    command stay.
    """
    is_command = re.compile(f"{commands.pattern}|{SHELL}").search
    if not is_command(text):
        return None
    text = _IN_BRACKETS.sub(
        lambda found: "" if is_command(found[0]) else found[0], text
    )
    kept = "".join(
        found[0] for found in _CLAUSE.finditer(text) if not is_command(found[0])
    )
    first = is_command(text)
    if not kept.strip() and first is not None:
        lead = text[: first.start()]
        kept = lead[: cut.start()] if (cut := _CUT.search(lead)) else ""
    return _BEGINNING.sub(lambda found: found[0].upper(), _END.sub("", kept))
