"""`publisher new-adapter` writes a whole package for a valid platform name, overwriting nothing.

That the package passes its own tests is shown in tests/interop/test_adapter_packages.py.
"""

import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from publisher.cli.commands.new_adapter import PLACES

ROOT = Path(__file__).parents[2]


def written(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_text("utf-8")
        for file in folder.rglob("*.*")
        if file.is_file()
    }


def test_it_writes_a_package_that_bears_the_name(run, tmp_path):
    """Adapter, double, kit and CI file are written, and no placeholder of the name is left."""
    assert run("new-adapter", "cityboard", "-C", tmp_path).code == 0
    files_by_path = written(tmp_path / "publisher-cityboard")
    assert set(files_by_path) == {
        place.format(name="cityboard") for place in PLACES.values()
    }
    assert [
        path for path, text in files_by_path.items() if "myplatform" in text.lower()
    ] == []
    entry = tomllib.loads(files_by_path["pyproject.toml"])["project"]["entry-points"][
        "publisher.adapters"
    ]
    assert entry == {"cityboard": "publisher_cityboard:CITYBOARD"}
    assert (
        "CITYBOARD = CityboardFactory()"
        in files_by_path["src/publisher_cityboard/__init__.py"]
    )


def test_every_template_is_used():
    """No file of the template folder is forgotten."""
    folder = Path(str(files("publisher.cli") / "adapter_package"))
    found = {
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file()
    }
    assert found == {f"{template}.tmpl" for template in PLACES}


def test_the_code_is_as_clean_as_our_own(run, tmp_path):
    """Generated code passes our formatter and all our lint rules."""
    assert run("new-adapter", "cityboard", "-C", tmp_path).code == 0
    package = str(tmp_path / "publisher-cityboard" / "src")
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ruff",
                *command,
                "--no-cache",
                "--config",
                str(ROOT / "pyproject.toml"),
                package,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_overwritten(run, tmp_path):
    """A folder of that name stays as it is."""
    (tmp_path / "publisher-cityboard").mkdir()
    result = run("new-adapter", "cityboard", "-C", tmp_path)
    assert (result.code, list(tmp_path.rglob("*"))) == (
        1,
        [tmp_path / "publisher-cityboard"],
    )
    assert "publisher-cityboard" in result.err


@pytest.mark.parametrize(
    "name",
    ["3a", "City", "city-board", "../x", "class", "城", "", "x", "weibo", "webhook"],
)
def test_a_name_that_no_platform_can_have_is_refused(run, tmp_path, name):
    """A name that is no module, or that publisher has, is wrong usage, and nothing is written.

    The error has a remedy.
    """
    result = run("new-adapter", name, "-C", tmp_path)
    assert (result.code, list(tmp_path.iterdir())) == (2, [])
    assert "请换一个名字" in result.err or "小写字母和数字" in result.err
