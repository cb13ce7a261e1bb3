# Sourced by the other scripts: makes .venv and installs what is pinned in the file named by $pinned, once.
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE # tests and campaigns start it a thousand times; compiling takes longer than starting

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "需要 Python 3.11 或更新版本（可用环境变量 PYTHON 指定）。" >&2
    echo "Python 3.11 or newer is needed (set PYTHON to name one)." >&2
    exit 2
fi
if [ ! -x .venv/bin/python ]; then
    if command -v uv >/dev/null 2>&1; then
        uv venv --quiet --python "$python" .venv
    else
        "$python" -m venv .venv
    fi
fi
stamp=$(cat "$pinned" pyproject.toml | cksum)
if [ "$(cat ".venv/$pinned.installed" 2>/dev/null)" != "$stamp" ]; then
    echo "正在安装依赖 / installing dependencies ($pinned) …" >&2
    if command -v uv >/dev/null 2>&1; then
        VIRTUAL_ENV=$PWD/.venv
        export VIRTUAL_ENV
        uv pip install --quiet --require-hashes -r "$pinned"
        uv pip install --quiet --no-deps --no-build-isolation --editable .
    else
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$pinned"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    fi
    echo "$stamp" >".venv/$pinned.installed"
fi
