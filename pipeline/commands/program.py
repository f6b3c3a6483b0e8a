"""What every command of the program shares: how arguments are refused, and how it speaks."""

from __future__ import annotations

import argparse
import codecs
import io
import logging
import sys
from typing import NoReturn

from pipeline.errors import InputError

_PRINTABLE = "stream_segment.printable"
_ASCII = {"…": "...", "²": "^2"}
"""What our own texts hold besides ASCII."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are one line, like every other mistake."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError instead of printing the usage and leaving."""
        raise InputError(f"{message} (see {self.prog} --help)")


PACKAGES = ("pipeline", "stream_segment", "mrcnn")


def set_up_logging(verbose: bool = False) -> None:
    """Let the program's own packages speak on standard error, a line each; with `verbose` they say more."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("stream_segment: %(message)s"))
    for name in PACKAGES:
        package_logger = logging.getLogger(name)
        package_logger.setLevel(logging.DEBUG if verbose else logging.INFO)
        package_logger.handlers = [handler]
        package_logger.propagate = False


def print_any_text() -> None:
    """Make printing succeed whatever the locale is and wherever the output goes.

    Bytes of a file name that the locale's encoding cannot read are written as they are; other characters that the
    output's encoding lacks become an ASCII spelling or an escape.
    """
    codecs.register_error(_PRINTABLE, _printable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None under pythonw
            stream.reconfigure(errors=_PRINTABLE)


def _printable(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if character in _ASCII:
        return _ASCII[character], error.start + 1
    first = UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, error.reason)
    try:
        return codecs.lookup_error("surrogateescape")(first)
    except UnicodeEncodeError:
        return codecs.lookup_error("backslashreplace")(first)
