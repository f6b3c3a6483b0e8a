"""Whether this Python can run the program. Any Python must be able to read this file and say why not: no new syntax."""

import platform
import sys
import sysconfig

OLDEST, NEWEST = (3, 11), (3, 13)
OLDEST_MACOS = 15
EXPECTED = "Python 3.11, 3.12 or 3.13 (CPython, 64 bits, with the module venv)"
SYSTEMS = ("Linux x86_64", "Linux aarch64", "Darwin arm64", "Windows AMD64")


def fault():
    """What is wrong with this Python, to follow "found "; None if it can be used."""
    name = platform.python_implementation() + " " + platform.python_version()
    if platform.python_implementation() != "CPython" or sys.version_info[:2] < OLDEST:
        return name
    if sys.version_info[:2] > NEWEST:
        return name + ", for which TensorFlow has no release yet"
    if sys.maxsize < 2**32:
        return name + " with 32 bits"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return name + " without a global lock, for which TensorFlow and OpenCV have no releases"
    system = platform.system() + " " + platform.machine()
    if system not in SYSTEMS or (sys.platform.startswith("linux") and not _has_glibc()):
        return name + " on " + system + ", for which TensorFlow or OpenCV have no releases"
    macos = platform.mac_ver()[0]
    if sys.platform == "darwin" and int(macos.split(".")[0]) < OLDEST_MACOS:
        return name + " on macOS " + macos + ", for which the OpenCV of locks/ has no release"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return name + " without the module venv (Debian, Ubuntu: install the package python3-venv)"
    return None


def _has_glibc():
    """Whether this Linux has glibc 2.28 or newer, which PyAV's and OpenCV's wheels need (Alpine has musl)."""
    library, version = platform.libc_ver()
    return library == "glibc" and [int(part) for part in version.split(".")[:2]] >= [2, 28]


if __name__ == "__main__":
    found = fault()
    if found:
        print(found)
        sys.exit(1)
