"""The files of a new workspace."""

import json
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from publisher.cli.errors import CommandFailedError
from publisher.schedule import schedule_schema

SAMPLES_FOLDER = files("publisher.cli") / "workspace_files"
WORKSPACE_FOLDERS = ("templates", "media", "var")
PRIVATE_FOLDER = "secrets"


def new_workspace_files() -> dict[str, bytes]:
    """Return the contents of a new workspace's files by their path inside it."""
    media = {f"media/{picture.name}": picture.read_bytes() for picture in (SAMPLES_FOLDER / "media").iterdir()}
    schema = json.dumps(schedule_schema(), ensure_ascii=False, indent=2) + "\n"
    return {
        "publisher.toml": (SAMPLES_FOLDER / "publisher.toml").read_bytes(),
        "schedule.toml": find_shipped_schedule().read_bytes(),
        "schedule.schema.json": schema.encode(),
        "templates/README.md": (SAMPLES_FOLDER / "templates-README.md").read_bytes(),
        ".gitignore": (SAMPLES_FOLDER / "gitignore").read_bytes(),
        **media,
    }


def find_shipped_schedule() -> Traversable:
    """Return the sample schedule: inside the package, or beside it in a source tree."""
    package = files("publisher")
    packaged = package / "_workspace" / "schedule.toml"
    return packaged if packaged.is_file() else Path(str(package)).parent / "schedule.toml"


def create_workspace(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write a workspace. Raise CommandFailedError, and write nothing, when a file or folder exists already."""
    taken = [name for name in contents if (folder / name).exists() or (folder / name).is_symlink()]
    taken += [name for name in WORKSPACE_FOLDERS if (folder / name).exists() and not (folder / name).is_dir()]
    if taken or (folder.exists() and not folder.is_dir()):
        raise CommandFailedError("workspace_not_empty", folder=folder, names="、".join(sorted(taken)) or folder)
    for name in WORKSPACE_FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        path = folder / name
        is_private = path.parent.name == PRIVATE_FOLDER
        path.parent.mkdir(exist_ok=True, mode=0o700 if is_private else 0o777)
        with path.open("xb") as file:
            if is_private:
                path.chmod(0o600)
            file.write(data)
