#!/usr/bin/env python3
"""Write the parts of docs/ that come from the code.

With --check, only report whether they are current. A page generated as a whole is a line in PAGES.
Inside a page written by hand, the lines between `<!-- drawn: NAME -->` and `<!-- end of NAME -->`
come from the function of that name in PARTS.
"""

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from adapters import BUILT_IN_ADAPTERS
from publisher.app.adapters import AdapterTexts
from publisher.cli import COMMANDS, build_program
from publisher.cli.framework import shared_options
from publisher.cli.terminal import Terminal
from publisher.domain.delivery import EVENT_CODES, FINAL_STATES, State
from publisher.domain.kinds import KINDS
from publisher.domain.lifecycle import TRANSITIONS, Transition
from publisher.domain.results import HoldReason
from publisher.i18n import LANGUAGES, Lang, Messages, use_platform_texts
from publisher.rendering.child import RenderWorker
from publisher.rendering.sandbox import TemplateSandbox
from publisher.rendering.templates import (
    TemplateSample,
    load_templates,
    shipped_templates,
)
from publisher.runtime.clock import FAILPOINT_NAMES
from publisher.settings_file import settings_schema
from scripts.rooms import rooms_table

use_platform_texts(AdapterTexts)
ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
GENERATED = (
    "<!-- Drawn from the code by scripts/make_docs.py; edits here are overwritten. -->"
)
PART = re.compile(r"<!-- drawn: (\w+) -->\n.*?<!-- end of \1 -->", re.DOTALL)

STATES_HEAD = """\
A delivery is the duty to put one occurrence of a post on one account. \
This page lists every step it can take; whatever
is not listed is refused. Steps that stay in a state are left out of the diagram. \
The words under each state are those
of `publisher why`. What to do about a delivery that is held stands in [holds.md](holds.md).

一个“任务”就是把某条内容的某一次发到某一个账号。本页列出它的全部走法，没有列出的一律不允许。每个状态下面的文字
就是 `publisher why` 的说法。等待人工处理的任务该怎么办，见 [holds.md](holds.md)。"""
CLI_HEAD = """\
Every command takes `-C DIR` and `--lang zh_CN|en` (or `PUBLISHER_LANG`). \
A target is written POST, POST@ACCOUNT or
POST#INSTANT@ACCOUNT. Answers go to standard output, diagnostics to standard error; \
`--json` prints one JSON document.
The keys of `status --json`: \
[monitoring.md](monitoring.md#the-columns-and-keys-of-status--状态表的列和-json-的项).

每个命令都可以加 `-C 文件夹` 和 `--lang zh_CN|en`。目标写成 编号、编号@账号，或 编号#时间@账号。\
答复写到标准输出，
说明和进度写到标准错误。

| exit code | means | 含义 |
|---|---|---|
| 0 | fine | 正常 |
| 1 | problems were found, or something failed | 发现问题，或没有做成 |
| 2 | wrong usage | 用法有误 |
| 3 | refused for safety | 为安全起见拒绝 |
| 4 | no such post, account, delivery, alert, secret or template | \
没有这条内容、账号、任务、提醒、密钥或模板 |
| 130 | interrupted by Ctrl-C | 按 Ctrl-C 中断 |"""
CODES_HEAD = """\
What each adapter takes a platform's code for \
when it answers the call that may have created a post. The date of the
source's last reading stands on each line of the adapter's `codes.py`. \
**A code that is not listed proves nothing**:
the delivery becomes `unknown`, and the account is read back. \
So does a listed one in a response from status 500 on. The
words are those that staff see; \
while a limit runs, they see that the account is rate-limited, and until when."""
FAULTS_HEAD = """\
What must follow from each fault stands in [failure-model.md](failure-model.md). \
This page lists the tests that name it,
as files and functions under `tests/`. \
They run with all others: in `scripts/test`, `scripts/test-long` and, before a
release, `scripts/test-extra`.

A test names its faults in the ids of its cases (`id="F30-html"`), \
and where no case does, in its own name
(`test_f07_…`) and in the first line of its docstring (`F07: …`, `F28 to F37`)."""
CONTENTS = "Contents · 目录"
"""The section of operating.md that leads to the others."""
STATEMENTS: Mapping[Lang, Sequence[str]] = {
    "zh_CN": ("发生了什么：", "接下来：", "要做的："),
    "en": ("What happened:", "What follows:", "What to do:"),
}
"""The labels of the three statements about each code, by language."""
BLANKS: Mapping[Lang, Mapping[str, str]] = {
    "zh_CN": {
        "account": "账号", "due": "〈预定时间〉", "expires": "〈失效时间〉", "late": "",
        "marker": "〈通报编号〉", "next": "〈下次时间〉", "place": "平台的网站", "post": "编号",
        "secret": "〈密钥名称〉", "subject": "编号@账号", "name": "编号", "url": "〈网址〉",
        "renewal": "publisher login 账号，或 publisher secret set 〈密钥名称〉",
    },
    "en": {
        "account": "ACCOUNT", "due": "its time", "expires": "its expiry", "late": "",
        "marker": "NUMBER", "next": "the next look", "place": "the platform's site", "post": "POST",
        "secret": "NAME", "subject": "POST@ACCOUNT", "name": "POST", "url": "URL",
        "renewal": "publisher login ACCOUNT, or publisher secret set NAME",
    },
}  # fmt: skip
"""Placeholders for the facts of a single delivery."""


def states_page() -> str:
    """Return the page on the states of a delivery: a diagram, and a heading for each state."""
    parts = [
        "# States of a delivery",
        GENERATED,
        STATES_HEAD,
        "\n".join(["```mermaid", "stateDiagram-v2", *_arrows(), "```"]),
        *(part for state in State for part in _state_section(state)),
    ]
    return _page(parts)


def _arrows() -> Iterator[str]:
    labels: dict[tuple[State, State], list[str]] = defaultdict(list)
    for (source, event), rule in TRANSITIONS.items():
        for target in rule.targets - {source}:
            labels[source, target].append(EVENT_CODES[event])
    yield f"    [*] --> {State.PENDING}"
    order = list(State)
    for source, target in sorted(
        labels, key=lambda pair: (order.index(pair[0]), order.index(pair[1]))
    ):
        yield f"    {source} --> {target}: {', '.join(sorted(labels[source, target]))}"
    yield from (f"    {state} --> [*]" for state in State if state in FINAL_STATES)


def _state_section(state: State) -> Iterator[str]:
    yield f"## {state}"
    yield from _texts_of(f"state_{state}")
    lines = sorted(
        (EVENT_CODES[event], rule)
        for (source, event), rule in TRANSITIONS.items()
        if source is state
    )
    if not lines:
        yield "An end: nothing leads out of it."
        return
    yield _table(
        ["event", "leads to", "brought by"], (_transition(*line) for line in lines)
    )


def _transition(event: str, rule: Transition) -> list[str]:
    return [
        event,
        ", ".join(state for state in State if state in rule.targets),
        ", ".join(sorted(rule.roles)),
    ]


def cli_page() -> str:
    """Return the page on the command line: a heading for each command, in both languages."""
    sections = (part for name in COMMANDS for part in _command_section(name))
    return _page(["# Commands · 命令", GENERATED, CLI_HEAD, *sections])


def _command_section(name: str) -> Iterator[str]:
    root = build_program()
    command = root.get_command(click.Context(root), name)
    if command is None:
        raise SystemExit(f"no command {name}")
    yield f"## {name}"
    for lang in LANGUAGES:
        top = click.Context(
            root,
            info_name="publisher",
            obj=Terminal(messages=Messages(lang), workspace=Path()),
        )
        context = click.Context(command, info_name=name, parent=top)
        yield f"`{context.command_path} {' '.join(command.collect_usage_pieces(context))}`"
        yield f"**{_say(lang, command.help or '')}** {_hint(lang, command.help or '')}".strip()
    shared = {param.name for param in shared_options()}
    options = [
        param
        for param in command.params
        if isinstance(param, click.Option) and param.name not in shared
    ]
    if options:
        yield _table(
            ["option", "说明", "meaning"],
            (_option_line(option, command) for option in options),
        )


def _option_line(option: click.Option, command: click.Command) -> list[str]:
    record = option.get_help_record(click.Context(command))
    needed = [_say(lang, "needed") if option.required else "" for lang in LANGUAGES]
    words = [_say(lang, option.help or "") for lang in LANGUAGES]
    return [
        f"`{record[0] if record else option.name}`",
        *map("".join, zip(words, needed, strict=True)),
    ]


def codes_page() -> str:
    """Return the page on the platforms' codes: one table for each adapter."""
    tables = (
        part
        for platform in BUILT_IN_ADAPTERS
        for part in (f"## {platform}", _code_table(platform))
    )
    return _page(
        ["# What the platforms' codes mean · 平台代码", GENERATED, CODES_HEAD, *tables]
    )


def _code_table(platform: str) -> str:
    codes: Mapping[int, Any] = import_module(f"adapters.{platform}.codes").CODES
    rows = (
        [
            str(code),
            str(line.error_class),
            *(_say(lang, f"{platform}_{code}") for lang in LANGUAGES),
            line.source,
        ]
        for code, line in sorted(codes.items())
    )
    return _table(["code", "taken as", "说明", "meaning", "source"], rows)


def faults_page() -> str:
    """Return the page on the tests of each fault, read from their source without running them."""
    tests: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(ROOT.glob("tests/*/**/test_*.py")):
        file = str(path.relative_to(ROOT / "tests"))
        if not file.startswith("repo/"):  # those are about the numbers themselves
            for test, numbers in faults_by_test(path.read_text("utf-8")):
                for number in numbers:
                    tests[number][file].append(f"`{test}`")
    model = (DOCS / "failure-model.md").read_text("utf-8")
    rows = (
        [
            number,
            wrong,
            "<br>".join(
                f"{file}: {', '.join(names)}" for file, names in tests[number].items()
            ),
        ]
        for number, wrong in re.findall(
            r"^\| (F\d{2,3}) \| ([^|]+) \|", model, re.MULTILINE
        )
    )
    table = _table(["fault", "what goes wrong", "tests"], rows)
    return _page(
        ["# Faults and the tests that show them", GENERATED, FAULTS_HEAD, table]
    )


def faults_by_test(source: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each test of a module with the faults that its cases name.

    Without such faults, yield the ones of its name and its docstring's first line.
    """
    module = ast.parse(source)
    constants = {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module):
        if isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef
        ) and node.name.startswith("test_"):
            used = (
                name.id
                for part in node.decorator_list
                for name in ast.walk(part)
                if isinstance(name, ast.Name)
            )
            places = [
                *node.decorator_list,
                *(constants[name] for name in used if name in constants),
            ]
            promise = (ast.get_docstring(node) or "").partition("\n")[0]
            yield (
                node.name,
                faults_named("", " ".join(case_ids(places)))
                or faults_named(node.name, promise),
            )


def case_ids(places: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the ids of cases (`id="…"`) in pieces of source."""
    for place in places:
        for node in ast.walk(place):
            if (
                isinstance(node, ast.keyword)
                and node.arg == "id"
                and isinstance(node.value, ast.Constant)
            ):
                yield str(node.value.value)


def faults_named(function: str, words: str) -> frozenset[str]:
    """Return the faults (`F07`, `F28 to F37`) in a function's name and a line of text.

    A function's name has them as `f07`.
    """
    found = {
        f"F{number}" for number in re.findall(r"(?:_|^)f(\d{2,3})(?=_|$)", function)
    }
    found |= set(re.findall(r"\bF\d{2,3}\b", words))
    for first, last in re.findall(r"\bF(\d{2,3})(?:-| to )F(\d{2,3})\b", words):
        found |= {f"F{number:02}" for number in range(int(first), int(last) + 1)}
    return frozenset(found)


def holds() -> str:
    """Return a heading for each hold reason, with three statements about it in both languages."""
    return _page(
        part for reason in HoldReason for part in (f"## {reason}", _statements(reason))
    )


def _statements(reason: HoldReason) -> str:
    """Return what a hold reason means, what follows, and what to do, as a list."""
    code = f"hold_{reason}"
    return "\n".join(
        f"- **{label}** {text}"
        for lang, labels in STATEMENTS.items()
        for label, text in zip(
            labels,
            (_say(lang, code), _hint(lang, "state_held"), _hint(lang, code)),
            strict=True,
        )
    )


def contents() -> str:
    """Return links to the sections of operating.md."""
    titles = re.findall(
        r"^## (.+)$", (DOCS / "operating.md").read_text("utf-8"), re.MULTILINE
    )
    return "\n".join(
        f"- [{title}](#{_anchor(title)})" for title in titles if title != CONTENTS
    )


def hold_index() -> str:
    """Return a table of the hold reasons by alphabet."""
    return _code_index((str(reason) for reason in HoldReason), "hold")


def alert_index() -> str:
    """Return a table of the codes of alerts.md by alphabet."""
    return _code_index(codes_described("alerts.md"), "alert")


def refusal_index() -> str:
    """Return a table of the codes of refusals.md by alphabet."""
    return _code_index(codes_described("refusals.md"), "alert")


def codes_described(page: str) -> list[str]:
    """Return the codes that have a section on a page."""
    return re.findall(
        r"^## ([a-z][a-z_]*)$", (DOCS / page).read_text("utf-8"), re.MULTILINE
    )


def _code_index(codes: Iterable[str], area: str) -> str:
    """Return a table with a link to the section of each code, and its message."""
    return _table(
        ["代码 code", "提示", "message"],
        (
            [
                f"[{code}](#{_anchor(code)})",
                *_message(f"{area}_{code}", code, f"reason_{code}"),
            ]
            for code in sorted(codes)
        ),
    )


def _message(*codes: str) -> list[str]:
    """Return the first sentence of the first known message in each language.

    It has an ellipsis for each fact.
    """
    texts = (
        re.sub(r"\{\w+\}", "…", _say(lang, Messages(lang).first_known(*codes)))
        for lang in LANGUAGES
    )
    return [re.split(r"。|\. |\.$", text)[0] for text in texts]


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def settings() -> str:
    """Return the table of all keys of publisher.toml."""
    schema = settings_schema()
    return _table(
        ["key", "type", "default", "说明"], _setting_lines(schema, schema["$defs"], "")
    )


def _setting_lines(
    table: Mapping[str, Any], inner: Mapping[str, Any], where: str
) -> Iterator[list[str]]:
    for key, entry in table["properties"].items():
        nested, name = _nested(entry, where, key)
        given = None if nested else entry.get("default")
        default = "" if given is None else f"`{_toml(given)}`"
        yield [f"`{name}`", _type_of(entry), default, entry.get("description", "")]
        if nested:
            yield from _setting_lines(inner[nested], inner, f"{name}.")


def _nested(entry: Mapping[str, Any], where: str, key: str) -> tuple[str, str]:
    """Return the table that a key holds, by its name in the schema, and how the key is written."""
    entry = next((one for one in entry.get("anyOf", ()) if "$ref" in one), entry)
    mark = (
        "" if "$ref" in entry else ".NAME" if "additionalProperties" in entry else "[]"
    )
    holder = (
        entry
        if not mark
        else entry.get("items") or entry.get("additionalProperties") or {}
    )
    reference = holder.get("$ref", "") if isinstance(holder, Mapping) else ""
    return reference.rpartition("/")[2], f"{where}{key}{mark if reference else ''}"


def _type_of(entry: Mapping[str, Any]) -> str:
    if "enum" in entry:
        return " \\| ".join(f"`{choice}`" for choice in entry["enum"])
    if "anyOf" in entry:
        return ", ".join(
            dict.fromkeys(
                _type_of(one) for one in entry["anyOf"] if one.get("type") != "null"
            )
        )
    return str(entry.get("type", "table")).replace("object", "table")


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def kinds() -> str:
    """Return the table of the kinds of posts."""
    return _table(
        ["值", "中文", "meaning", "follows"],
        (
            [
                f"`{kind}`",
                f"{row.name['zh_CN']}：{row.hint['zh_CN']}",
                f"{row.name['en']}: {row.hint['en']}",
                "要原稿 needed" if row.needs_original else "",
            ]
            for kind, row in KINDS.items()
        ),
    )


def templates() -> str:
    """Return a heading for each shipped template, with the data that it takes."""
    samples = load_templates([shipped_templates()], RenderWorker()).samples
    return _page(
        part
        for name in sorted(samples)
        for part in _template_section(name, samples[name])
    )


def _template_section(name: str, sample: TemplateSample) -> Iterator[str]:
    yield f"### {name}"
    yield from (sample.explain("about", lang) for lang in LANGUAGES)
    keys = [
        *((key, "必填") for key in sample.needs),
        *((key, "可选") for key in sample.offers),
    ]
    rows = [
        [f"`data.{key}`", need, *(sample.explain(key, lang) for lang in LANGUAGES)]
        for key, need in keys
    ]
    yield _table(["项", "", "用途", "use"], rows)


def filters() -> str:
    """Return the filters that a template may use."""
    return ", ".join(
        f"`{name}`"
        for name in sorted(TemplateSandbox(lambda _name: None).filters)
        if " " not in name
    )


def layers() -> str:
    """Return the layers of the import rules, highest first."""
    return _layers_of("publisher")


def store_rooms() -> str:
    """Return the layers of the store's rooms, highest first."""
    return _layers_of("publisher.store")


def web_rooms() -> str:
    """Return the layers of the dashboard's rooms, highest first."""
    return _layers_of("publisher.web")


def _layers_of(package: str) -> str:
    """Return the layers in a package, as the import rules have them."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
    names = next(
        rule["layers"] for rule in rules if rule.get("containers") == [package]
    )
    return "\n".join(["```text", *names, "```"])


def packages() -> str:
    """Return each package of publisher/ and adapters/ with the first paragraph of its docstring."""
    return _table(
        ["package", "purpose"],
        (row for root in ("publisher", "adapters") for row in _package_rows(root)),
    )


def _package_rows(root: str) -> Iterator[list[str]]:
    for path in sorted((ROOT / root).glob("*")):
        module = path / "__init__.py" if path.is_dir() else path
        if (
            module.suffix != ".py"
            or not module.exists()
            or module.name == "__main__.py"
            or path.name == "__init__.py"
        ):
            continue
        docstring = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
        yield [
            f"`{root}/{path.name}`",
            docstring.partition("\n\n")[0].replace("\n", " "),
        ]


def rooms() -> str:
    """Return the subjects of publisher, with the files of each in every layer."""
    return _table(*rooms_table())


def failpoints() -> str:
    """Return the names of all failpoints."""
    return ", ".join(f"`{name}`" for name in sorted(FAILPOINT_NAMES))


def _texts_of(code: str) -> Iterator[str]:
    """Yield a code and its hint in both languages."""
    for lang in LANGUAGES:
        yield f"**{_say(lang, code)}**"
        if hint := _hint(lang, code):
            yield hint


def _say(lang: Lang, code: str) -> str:
    return Messages(lang).translate(code, **BLANKS[lang])


def _hint(lang: Lang, code: str) -> str:
    return Messages(lang).hint(code, **BLANKS[lang])


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace(chr(10), ' ') for cell in line)} |"
        for line in lines
    )


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(parts) + "\n"


PAGES: Mapping[Path, Callable[[], str]] = {
    DOCS / "states.md": states_page,
    DOCS / "cli.md": cli_page,
    DOCS / "codes.md": codes_page,
    DOCS / "faults.md": faults_page,
}
PARTS: Mapping[str, Callable[[], str]] = {
    part.__name__: part
    for part in (
        holds,
        contents,
        hold_index,
        alert_index,
        refusal_index,
        settings,
        kinds,
        templates,
        filters,
        layers,
        store_rooms,
        web_rooms,
        packages,
        rooms,
        failpoints,
    )
}


def _regenerated(text: str) -> str:
    """Regenerate the generated parts of a page that is written by hand."""
    return PART.sub(
        lambda found: (
            f"<!-- drawn: {found[1]} -->\n{PARTS[found[1]]().strip()}\n<!-- end of {found[1]} -->"
        ),
        text,
    )


def _wanted() -> Iterator[tuple[Path, str]]:
    for path, page in PAGES.items():
        yield path, page()
    for path in sorted(DOCS.rglob("*.md")):
        if path not in PAGES:
            yield path, _regenerated(path.read_text("utf-8"))


def main(arguments: list[str]) -> int:
    """Write all pages, or with --check name the stale ones and return 1 if there are any."""
    texts = dict(_wanted())
    stale = [
        path
        for path, text in texts.items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    if "--check" in arguments:
        sys.stdout.writelines(
            f"stale: {path.relative_to(ROOT)}; run scripts/make_docs.py\n"
            for path in stale
        )
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts[path], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
