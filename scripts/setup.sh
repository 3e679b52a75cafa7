#!/bin/sh
# Makes .venv with relevo in it.   usage: sh scripts/setup.sh run|dev
#
# run: what the server needs; dev: what tests need too. Works on a bare Debian, where python3 comes
# without pip and ensurepip: then pip comes from Debian's python3-pip-whl, unpacked below .cache/.
set -eu
cd "$(dirname "$0")/.."

kind=${1:-dev}
venv=.venv
wanted="3.11"

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not Python $wanted or newer."
        echo "$PYTHON"
        return
    fi
    # The system's own first: it is built with profile-guided optimization, which pyenv's usually is
    # not (measured: a quarter of relevo's accept rate).
    for name in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11 python; do
        if command -v "$name" >/dev/null 2>&1 && is_new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    if command -v python3 >/dev/null 2>&1; then
        found="python3 here is $(python3 -c 'import platform; print(platform.python_version())')"
    else
        found="no python3 was found"
    fi
    fail "relevo needs Python $wanted or newer; $found." \
        "Install one, then: make setup PYTHON=/path/to/python$wanted"
}

may_install() { [ "$(id -u)" = 0 ] && { [ -n "${CI:-}" ] || [ "${RELEVO_INSTALL:-}" = yes ]; }; }

# pip for an environment that was made without it; each way is tried until one works.
add_pip() {
    python=$1
    if "$python" -m pip --version >/dev/null 2>&1 &&
        "$python" -m pip --python "$venv/bin/python" install --quiet pip 2>/dev/null; then
        return
    fi
    if command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1; then
        say "this Python has no ensurepip; taking pip from Debian's python3-pip-whl"
        root=$(pwd)/.cache/pip-wheel
        rm -rf "$root"
        mkdir -p "$root/lists/partial" "$root/archives/partial"
        options="-qq -o Dir::State::lists=$root/lists -o Dir::Cache=$root -o APT::Sandbox::User=$(id -un)"
        # shellcheck disable=SC2086
        if (cd "$root" && { apt-get -qq download python3-pip-whl ||
            { apt-get $options update && apt-get $options download python3-pip-whl; }; } &&
            dpkg-deb -x python3-pip-whl_*.deb .) >"$root/log" 2>&1; then
            wheel=$(echo "$root"/usr/share/python-wheels/pip-*.whl)
            PYTHONPATH=$wheel "$venv/bin/python" -m pip install --quiet pip && return
        fi
    fi
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if may_install && command -v apt-get >/dev/null 2>&1; then
        say "installing python$version-venv"
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "python$version-venv"
        "$python" -m venv --clear "$venv"
        return
    fi
    rm -rf "$venv"
    fail "this Python can make no environment with pip. On Debian and Ubuntu, as root:" \
        "apt-get install python$version-venv"
}

# An environment that moved (its folder was copied or renamed) has scripts that point elsewhere.
is_usable() {
    [ -x "$venv/bin/python" ] && is_new_enough "$venv/bin/python" &&
        "$venv/bin/python" -c 'import os, sys; sys.exit(not os.path.samefile(sys.prefix, sys.argv[1]))' "$venv" &&
        "$venv/bin/python" -m pip --version >/dev/null 2>&1 &&
        grep -qF "$(pwd)/$venv" "$venv/bin/activate"
}

if ! is_usable; then
    python=$(find_python)
    say "making $venv with $("$python" --version) ($python)"
    if ! "$python" -m venv --clear "$venv" >/dev/null 2>&1; then
        "$python" -m venv --clear --without-pip "$venv" ||
            fail "$python cannot make an environment; on Debian and Ubuntu, as root: apt-get install python3-venv"
        add_pip "$python"
    fi
fi

case $kind in
run) what=. ;;
dev) what='.[dev]' ;;
*) fail "unknown kind '$kind': run or dev" ;;
esac
say "installing relevo ($kind) into $venv"
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e "$what"; then
    fail "pip could not install relevo; its message stands above."
fi
touch "$venv/.ready-run"
[ "$kind" = run ] || touch "$venv/.ready-dev"
