#!/bin/sh
# Prints a Python that can run the program: the one named as argument, else the first suitable one of those below. A name
# such as python3.12 is looked up on PATH, then in pyenv.
check="$(dirname "$0")/python_check.py"
pyenv="${PYENV_ROOT:-$(pyenv root 2>/dev/null || echo "$HOME/.pyenv")}"
try() {
    if fault=$("$1" "$check" 2>/dev/null); then
        echo "$1"
        exit 0
    fi
    [ -z "$fault" ] || found="${found:+$found; }$fault ($1)"
}
[ $# -gt 0 ] || set -- python3 python3.13 python3.12 python3.11 python
for candidate in "$@"; do
    try "$candidate"
    case $candidate in
    python3.*)
        for inside in "$pyenv/versions/${candidate#python}".*/bin/python; do
            [ ! -x "$inside" ] || try "$inside"
        done
        ;;
    esac
done
echo "error: expected Python 3.11, 3.12 or 3.13 (CPython, 64 bits, with the module venv), found ${found:-no $1}." \
    "Install one, or name it: make demo PYTHON=/path/to/python3.12" >&2
exit 1
