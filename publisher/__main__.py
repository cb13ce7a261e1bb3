"""The command `publisher`, as `python -m publisher`.

Like that command it imports nothing from the working directory.
"""

if __name__ == "__main__":
    import sys

    if not sys.flags.safe_path:
        del sys.path[0]
    try:
        from publisher.cli import main

        main()
    except KeyboardInterrupt:  # while modules are loaded
        sys.exit(130)
