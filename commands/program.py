"""What every command of the program shares: how arguments are refused, and how it speaks."""

from __future__ import annotations

import argparse
import logging
from typing import NoReturn

from pipeline.errors import InputError


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are one line, like every other mistake."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError instead of printing the usage and leaving."""
        raise InputError(f"{message} (see {self.prog} --help)")


PACKAGES = ("pipeline", "stream_segment", "mrcnn", "commands")


def set_up_logging(verbose: bool = False) -> None:
    """Let the program's own packages speak on standard error, a line each; with `verbose` they say more."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("stream_segment: %(message)s"))
    for name in PACKAGES:
        package_logger = logging.getLogger(name)
        package_logger.setLevel(logging.DEBUG if verbose else logging.INFO)
        package_logger.handlers = [handler]
        package_logger.propagate = False
