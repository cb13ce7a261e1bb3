"""Write THIRD_PARTY_NOTICES.md: the licences of all packages at run time, and of vendored files.

Usage: `python scripts/notices.py`, in an environment with the pinned packages; run it after
`scripts/lock` or `scripts/vendor.py`. `tests/repo/test_pinned.py` compares the file with the
installed packages.
"""  # noqa: INP001 # a script, no package

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTICES = ROOT / "THIRD_PARTY_NOTICES.md"
STATIC = ROOT / "publisher" / "web" / "static"
PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
LICENCE_FILE = re.compile(
    r"\.dist-info/(?:licenses/)*(?:LICEN[CS]E|COPYING|NOTICE)[^/]*$", re.IGNORECASE
)
MAX_NAME_CHARACTERS = 60
"""Some packages give the whole text of their licence where its name belongs."""
INTRODUCTION = """# Third-party notices · 第三方许可

publisher 运行时使用的软件包和随附的网页文件，及其许可。由 `scripts/notices.py` 生成，请勿手工修改。
二进制的软件包里还有别的库（例如 OpenSSL、libpq、libjpeg），其许可写在各个软件包里。

The packages that publisher runs with, the files of others in its dashboard, and their licences. \
Written by
`scripts/notices.py`; do not edit. \
Binary packages contain further libraries, such as OpenSSL, libpq or libjpeg,
under the licences that those packages name.

| package | version | licence |
|---|---|---|
"""


class NoticesError(Exception):
    """The notices cannot be written; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A package or a vendored file of others, with the texts of its licence."""

    name: str
    version: str
    licence: str
    texts: Sequence[str]


def main() -> None:
    NOTICES.write_text(format_notices(), "utf-8")


def format_notices() -> str:
    """Return the notices as Markdown. Raises NoticesError."""
    components = [*list_packages(), *list_vendored(), read_divisions()]
    rows = [
        f"| {item.name} | {item.version} | {item.licence} |\n" for item in components
    ]
    owners: dict[str, list[str]] = {}
    for item in components:
        for text in item.texts:
            owners.setdefault(text, []).append(item.name)
    sections = [
        f"\n## {', '.join(dict.fromkeys(names))}\n\n{indent(text)}\n"
        for text, names in owners.items()
    ]
    return INTRODUCTION + "".join(rows) + "".join(sections)


def indent(text: str) -> str:
    """Return a text as a block of code, shown by Markdown as it is."""
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def list_packages() -> Iterator[Component]:
    """Yield the packages that constraints.txt pins, by name.

    Raises NoticesError for another version, or one without a licence.
    """
    for name, version in PIN.findall((ROOT / "constraints.txt").read_text("utf-8")):
        found = distribution(name)
        if found.version != version:
            raise NoticesError(
                f"{name} {version} is pinned, but {found.version} is installed: "
                f"run scripts/test once"
            )
        licence, texts = find_licence(found), read_texts(found)
        if not licence or not texts:
            raise NoticesError(
                f"{name} {version} names no licence, or has no text of it"
            )
        yield Component(name=name, version=version, licence=licence, texts=texts)


def find_licence(package: Distribution) -> str:
    """Return the name of a package's licence.

    It is the licence's expression, else a short name, else its classifiers.
    """
    given = (
        package.metadata.get("License-Expression")
        or package.metadata.get("License")
        or ""
    )
    classified = [
        line.rpartition(" :: ")[2]
        for line in package.metadata.get_all("Classifier") or ()
        if line.startswith("License :: OSI Approved ::")
    ]
    is_name = given and "\n" not in given and len(given) <= MAX_NAME_CHARACTERS
    return given if is_name and given != "Dual License" else " / ".join(classified)


def read_texts(package: Distribution) -> Sequence[str]:
    files = sorted(
        str(file) for file in package.files or () if LICENCE_FILE.search(str(file))
    )
    return [
        Path(str(package.locate_file(file))).read_text("utf-8", "replace").strip()
        for file in files
    ]


def list_vendored() -> Iterator[Component]:
    """Yield the npm packages with files that the dashboard serves."""
    listed = tomllib.loads((STATIC / "vendor.toml").read_text("utf-8"))
    licences = {
        entry["package"]: entry["path"]
        for entry in listed["file"]
        if entry["source"] == "LICENSE"
    }
    versions = {entry["package"]: entry["version"] for entry in listed["file"]}
    licences[listed["icons"]["package"]] = listed["icons"]["licence"]
    versions[listed["icons"]["package"]] = listed["icons"]["version"]
    for name, version in sorted(versions.items()):
        text = (STATIC / licences[name]).read_text("utf-8").strip()
        yield Component(
            name=name,
            version=version,
            licence=text.partition("\n")[0].strip("# "),
            texts=[text],
        )


def read_divisions() -> Component:
    """Return the npm package with the codes and names of publisher/data/divisions.csv."""
    text = (ROOT / "publisher" / "data" / "divisions.LICENSE").read_text("utf-8")
    return Component(
        name="china-division", version="2.7.0", licence="WTFPL", texts=[text.strip()]
    )


if __name__ == "__main__":
    main()
