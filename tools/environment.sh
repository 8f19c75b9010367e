#!/usr/bin/env bash
# Makes the virtual environment .venv with everything that development uses. Called by `make install`.
# Needs Python 3.10 or newer with venv and pip; PYTHON=/path/to/python chooses one.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

usable() { command -v "$1" >/dev/null 2>&1 && "$1" -c "import sys; sys.exit(not ($2))" >/dev/null 2>&1; }

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        usable "$PYTHON" "sys.version_info >= (3, 10)" && { echo "$PYTHON"; return; }
        say "PYTHON=$PYTHON is not a Python 3.10 or newer."; return 1
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
        usable "$candidate" "(3, 10) <= sys.version_info < (3, 14)" && { echo "$candidate"; return; }
    done
    usable python3 "sys.version_info >= (3, 10)" && { say "Note: tested with Python 3.10 to 3.13."; echo python3; return; }
    say "No Python 3.10 or newer found. Install one (Debian: apt-get install python3 python3-venv),"
    say "or say where it is: make install PYTHON=/path/to/python3.11"
    return 1
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    say "Making .venv with $("$python" --version)"
    if ! "$python" -c "import ensurepip, venv" >/dev/null 2>&1; then
        version=$("$python" -c "import sys; print('%d.%d' % sys.version_info[:2])")
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
            say "This Python has no venv: installing Debian's python$version-venv"
            apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "python$version-venv" >&2
        else
            say "This Python has no venv module. Install it (Debian, Ubuntu: sudo apt-get install python$version-venv) and try again."
            exit 1
        fi
    fi
    rm -rf .venv
    "$python" -m venv .venv
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1
say "Installing what requirements-dev.txt pins"
.venv/bin/python -m pip install -qq -r requirements-dev.txt
.venv/bin/python -m pip install -qq --no-deps --no-build-isolation --editable .
touch .venv/.installed
say "Ready: .venv/bin/lakeflow-job-meta --help"
