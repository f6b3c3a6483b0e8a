"""What all commands share: argument errors, the log, and printing in any locale."""

from __future__ import annotations

import argparse
import codecs
import io
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

from pipeline.errors import InputError
from pipeline.safe_uri import mask_uris, safe_name

_PRINTABLE = "stream_segment.printable"
_ASCII = {"…": "...", "²": "^2"}
"""Replacements for the other characters of our own texts."""


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError instead of printing the usage and leaving."""
        raise InputError(f"{mask_uris(message)} (see {self.prog} --help)")

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Like the original, but an argument that nothing expects is not repeated whole: it may hold a secret."""
        parsed, unknown = self.parse_known_args(args, namespace)
        flags = [text.partition("=")[0] for text in unknown if text.startswith("-")]
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(flags or map(safe_name, unknown))}")
        return parsed


PACKAGES = ("pipeline", "stream_segment", "mrcnn")


def set_up_logging(verbose: bool = False) -> None:
    """Send the log of the program's own packages to standard error, from INFO on; from DEBUG on with `verbose`."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("stream_segment: %(message)s"))
    for name in PACKAGES:
        package_logger = logging.getLogger(name)
        package_logger.setLevel(logging.DEBUG if verbose else logging.INFO)
        package_logger.handlers = [handler]
        package_logger.propagate = False


def print_any_text() -> None:
    """Make printing succeed in every locale and to every output.

    Bytes of a file name that the locale cannot decode are written unchanged; other characters that the output's
    encoding lacks become an ASCII spelling or an escape.
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
