"""The command `publisher`, also as `python -m publisher`.

Like that command it imports nothing from the working directory.
"""

import sys

UNIX_MODULES = frozenset({"fcntl", "grp", "pwd", "resource", "termios"})
"""Modules of Python that Windows lacks."""


def main() -> None:
    """Run the command, or say in all languages that this system cannot run it."""
    try:
        from publisher.cli import main as run  # noqa: PLC0415 # it may be missing its modules
    except ModuleNotFoundError as error:
        if error.name not in UNIX_MODULES:
            raise
        from publisher.i18n import LANGUAGES, Messages  # noqa: PLC0415 # as above

        sys.exit(
            "\n".join(Messages(lang).translate("needs_unix") for lang in LANGUAGES)
        )
    run()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]
    try:
        main()
    except KeyboardInterrupt:  # while modules are loaded
        sys.exit(130)
