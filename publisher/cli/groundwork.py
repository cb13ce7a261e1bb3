"""What a workspace is made of."""

import json
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from publisher.cli.trouble import FailedError
from publisher.schedule import schedule_schema

SAMPLES = files("publisher.cli") / "workspace"
FOLDERS = ("templates", "media", "var")
PRIVATE_FOLDER = "secrets"


def workspace_files() -> dict[str, bytes]:
    """Give the files of a new workspace by their path inside it."""
    media = {f"media/{picture.name}": picture.read_bytes() for picture in (SAMPLES / "media").iterdir()}
    schema = json.dumps(schedule_schema(), ensure_ascii=False, indent=2) + "\n"
    return {
        "publisher.toml": (SAMPLES / "publisher.toml").read_bytes(),
        "schedule.toml": shipped_schedule().read_bytes(),
        "schedule.schema.json": schema.encode(),
        "templates/README.md": (SAMPLES / "templates-README.md").read_bytes(),
        ".gitignore": (SAMPLES / "gitignore").read_bytes(),
        **media,
    }


def shipped_schedule() -> Traversable:
    """Find the schedule that comes with the program: inside the package, or beside it in a source tree."""
    package = files("publisher")
    packaged = package / "_workspace" / "schedule.toml"
    return packaged if packaged.is_file() else Path(str(package)).parent / "schedule.toml"


def found_workspace(folder: Path, files_of: Mapping[str, bytes]) -> None:
    """Write a workspace. Raises FailedError, and writes nothing, when anything is in the way."""
    taken = [name for name in files_of if (folder / name).exists() or (folder / name).is_symlink()]
    taken += [name for name in FOLDERS if (folder / name).exists() and not (folder / name).is_dir()]
    if taken or (folder.exists() and not folder.is_dir()):
        raise FailedError("in_the_way", folder=folder, names="、".join(sorted(taken)) or folder)
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, data in files_of.items():
        path = folder / name
        is_private = path.parent.name == PRIVATE_FOLDER
        path.parent.mkdir(exist_ok=True, mode=0o700 if is_private else 0o777)
        with path.open("xb") as file:
            if is_private:
                path.chmod(0o600)
            file.write(data)
