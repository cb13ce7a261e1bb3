"""The page on new platforms shows code that exists, and both languages show the same."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "publisher-mastodon"
PAGES = tuple(
    ROOT / "docs" / name for name in ("new-adapter.md", "new-adapter.zh-CN.md")
)


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def test_every_piece_of_code_is_from_the_example():
    """All code shown to the reader is in the example, letter by letter. Its tests test the page."""
    source = "\n".join(
        path.read_text("utf-8") for path in sorted(EXAMPLE.rglob("*.py"))
    )
    shown = blocks(PAGES[0], "python")
    assert shown
    assert [block for block in shown if block not in source] == []


def test_both_languages_show_the_same():
    """The Chinese page has the same code, the same commands and the same sections."""
    english, chinese = (
        [blocks(page, language) for language in ("python", "sh")] for page in PAGES
    )
    assert chinese == english
    assert (
        len(
            {
                len(re.findall(r"^## ", page.read_text("utf-8"), re.MULTILINE))
                for page in PAGES
            }
        )
        == 1
    )


def test_every_file_that_the_page_names_exists():
    """Files of the package are files of the example."""
    named = set(
        re.findall(r"`((?:tests/)?\w+\.(?:py|toml))`", PAGES[0].read_text("utf-8"))
    )
    existing = {path.name for path in EXAMPLE.rglob("*")} | {
        f"tests/{path.name}" for path in EXAMPLE.rglob("*.py")
    }
    built_in = {"codes.py", "quality.toml", "pyproject.toml", "publisher.toml"}
    assert named - existing - built_in == set()
