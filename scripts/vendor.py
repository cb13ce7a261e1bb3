"""Copy files of npm packages, unchanged, into the dashboard, and build the sprite of its icons.

For maintainers. Usage: `python scripts/vendor.py`. `publisher/web/static/vendor.toml` has the
packages and versions; the script writes the hashes there. It needs npm.
`tests/web/test_vendor.py` compares the hashes.
"""  # noqa: INP001 # a script, no package

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tomlkit

STATIC = Path(__file__).resolve().parents[1] / "publisher" / "web" / "static"
SYMBOL = '<symbol id="{name}" viewBox="0 0 24 24">{shapes}</symbol>'
SPRITE = (
    '<svg xmlns="http://www.w3.org/2000/svg">\n<!-- {licence} -->\n{symbols}\n</svg>\n'
)


def main() -> None:
    file = STATIC / "vendor.toml"
    listed = tomlkit.parse(file.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        for entry in listed["file"]:
            target = STATIC / entry["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(
                fetch(entry["package"], entry["version"], Path(folder))
                / entry["source"],
                target,
            )
            entry["sha256"] = hashlib.sha256(target.read_bytes()).hexdigest()
        icons = listed["icons"]
        package = fetch(icons["package"], icons["version"], Path(folder))
        (STATIC / icons["path"]).write_text(
            build_sprite(package, icons["names"]), "utf-8"
        )
        shutil.copyfile(package / "LICENSE", STATIC / icons["licence"])
        icons["sha256"] = hashlib.sha256(
            (STATIC / icons["path"]).read_bytes()
        ).hexdigest()
    file.write_text(tomlkit.dumps(listed), "utf-8")


def fetch(package: str, version: str, folder: Path) -> Path:
    """Download a package with npm, unless it is there, and return its unpacked folder."""
    target = folder / f"{package}-{version}"
    if not target.is_dir():
        target.mkdir()
        command = ["npm", "pack", "--silent", f"{package}@{version}"]
        subprocess.run(command, cwd=target, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 # of our own list
        [archive] = target.glob("*.tgz")
        shutil.unpack_archive(archive, target, filter="data")
    return target / "package"


def build_sprite(package: Path, names: Sequence[str]) -> str:
    """Return one file of all icons, each a symbol of its name."""
    symbols, licence = [], ""
    for name in sorted(names):
        text = (package / "icons" / f"{name}.svg").read_text("utf-8")
        licence = text.partition("<!-- ")[2].partition(" -->")[0]
        shapes = re.sub(
            r"\s+",
            " ",
            text.partition("<svg")[2].partition(">")[2].rpartition("</svg>")[0],
        ).strip()
        symbols.append(
            SYMBOL.format(
                name=name, shapes=shapes.replace("> <", "><").replace(" />", "/>")
            )
        )
    return SPRITE.format(licence=licence, symbols="\n".join(symbols))


if __name__ == "__main__":
    main()
