"""The files of others are unchanged, and a browser's downloads stay small."""

import gzip
import hashlib
import tomllib

from publisher.web.kit.static_files import STATIC_FOLDER, load_static_files

KIB = 1024


def test_vendored_files_have_their_hashes():
    """Each file that is copied from a package is that file, byte for byte."""
    listed = tomllib.loads((STATIC_FOLDER / "vendor.toml").read_text("utf-8"))
    entries = [*listed["file"], listed["icons"]]
    found = {
        entry["path"]: hashlib.sha256(
            (STATIC_FOLDER / entry["path"]).read_bytes()
        ).hexdigest()
        for entry in entries
    }
    assert found == {entry["path"]: entry["sha256"] for entry in entries}


def test_what_a_browser_loads_is_within_its_budget():
    """Scripts, style and icons are as small as the budgets of the dashboard want."""
    sizes = {
        name: len(gzip.compress(file.body))
        for name, file in load_static_files().items()
    }
    own = sizes.pop("compose.js")  # of the form of a post alone
    scripts = sum(size for name, size in sizes.items() if name.endswith(".js"))
    assert scripts <= 24 * KIB
    assert own <= 3 * KIB
    assert sizes["app.js"] <= 8 * KIB
    assert sizes["style.css"] <= 12 * KIB
    assert sizes["icons.svg"] <= 4 * KIB


def test_the_script_keeps_nothing_and_speaks_to_no_other_page():
    """The script keeps nothing in the browser and listens to no page of another site.

    The texts that people type or read are in no storage of the browser.
    """
    files = load_static_files()
    text = "".join(files[name].body.decode() for name in ("app.js", "compose.js"))
    unwanted = (
        "localStorage",
        "sessionStorage",
        "indexedDB",
        "document.cookie",
        "postMessage",
        "eval(",
        "document.write",
    )
    assert [name for name in unwanted if name in text] == []
