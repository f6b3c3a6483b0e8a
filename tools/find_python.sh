#!/bin/sh
# Prints a Python that can run the program: the one named as argument, else the first of python3, python3.13 … that is new enough.
# Newer than 3.13 is taken only if there is no other, or by name: TensorFlow may have no release for it yet.
version_of() {
    "$1" -c 'import sys, ensurepip, venv; print(sys.version_info[0] * 100 + sys.version_info[1])' 2>/dev/null || echo 0
}
for candidate in ${1:-python3 python3.13 python3.12 python3.11 python}; do
    version=$(version_of "$candidate")
    if [ "$version" -ge 311 ] && { [ "$version" -le 313 ] || [ -n "$1" ]; }; then
        echo "$candidate"
        exit 0
    fi
    [ "$version" -gt 313 ] && newer=${newer:-$candidate}
done
if [ -n "$newer" ]; then
    echo "$newer"
    exit 0
fi
found=$("${1:-python3}" --version 2>&1) || found="no ${1:-python3}"
echo "error: expected Python 3.11 or newer with the module venv, found $found." \
    "Install one (Debian, Ubuntu: the package python3-venv too) or name it: make demo PYTHON=/path/to/python3.12" >&2
exit 1
