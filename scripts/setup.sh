# Sourced by the other scripts: makes .venv and installs what is pinned in the file named by $pinned, unless that is done.
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE # tests and campaigns start it a thousand times; compiling takes longer than starting

if ! .venv/bin/python -I scripts/make_environment.py --is-made "$pinned" 2>/dev/null; then
    python=${PYTHON:-python3}
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "需要 Python 3.11 或更新版本（可用环境变量 PYTHON 指定）。" >&2
        echo "Python 3.11 or newer is needed (set PYTHON to name one)." >&2
        exit 2
    fi
    "$python" scripts/make_environment.py "$pinned"
fi
