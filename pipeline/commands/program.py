"""What all commands share: flags, argument errors, and the log."""

from __future__ import annotations

import argparse
import difflib
import logging
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TextIO

from pipeline.errors import InputError
from pipeline.safe_uri import mask_uris, safe_name
from pipeline.settings.loading import parse_assignment
from pipeline.settings.messages import KeyPath

SettingFlag = tuple[str, str, str, str]
"""A flag that sets a setting: the flag, the setting's key, the metavar, and the help."""
Switch = tuple[str, str, Any, str]
"""A flag without a value: the flag, the settings' keys with spaces between them, what they are set to, and the help."""


def names(text: str) -> list[str]:
    """The type of a flag with names that are separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def whole_number(text: str, least: int, most: int | None = None) -> int:
    """The type of a flag with a whole number, once its limits are bound (`functools.partial`)."""
    if not text.isdecimal() or not least <= int(text) <= (most or math.inf):
        limits = f"from {least} {f'to {most}' if most else 'on'}"
        raise argparse.ArgumentTypeError(f"expected a whole number {limits}, got {text!r}")
    return int(text)


MODEL_FLAGS: tuple[SettingFlag, ...] = (
    ("--model", "model.weights", "NAME", "a published model instead of --weights: see the command `weights list`"),
    ("--weights", "model.weights", "FILE", "Mask R-CNN weights: .h5, .pth, .pkl or .safetensors"),
    ("--labels", "model.labels", "FILE", "class names, one a line, the first is the background"),
    ("--max-dim", "model.max_dim", "PX", "longer side that the network sees: 512, 1024 …"),
    ("--canvas", "model.canvas", "C", "tight (pad to 32), pad64 (to 64) or square (as the original)"),
    ("--engine", "model.engine", "E", "auto, keras, openvino or onnx"),
    ("--precision", "model.precision", "P", "auto, float32, bfloat16, float16 or int8"),
    ("--device", "model.device", "D", "auto, cpu or gpu"),
    ("--backend", "model.backend", "B", "auto, tensorflow, jax or torch"),
)
"""The network, for the commands that run it; `optimize` takes the first five, since it chooses the rest."""
SET_FLAG: dict[str, Any] = {"metavar": "KEY=VALUE", "action": "append", "default": []}
VERBOSE_FLAG: dict[str, Any] = {"action": "store_true", "help": "log more"}
PACKAGES = ("pipeline", "stream_segment", "mrcnn")


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError instead of printing the usage and leaving."""
        raise InputError(f"{mask_uris(message)} (see {self.prog} --help)")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Like the original, but that it cannot be written is an error."""
        if message:
            print(message, end="", file=file or sys.stderr, flush=True)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Like the original, but an argument that nothing expects is not repeated whole: it may hold a secret.

        Behind "--" are names of files, which may begin with a dash; intermixed, the original loses them.
        """
        args = list(sys.argv[1:] if args is None else args)
        if self._subparsers is None and "--" in args:
            end = args.index("--")
            args[end:] = [f"./{name}" if name.startswith("-") else name for name in args[end + 1 :]]
        # Intermixed: names of files may stand before, between and behind flags.
        parse = self.parse_known_intermixed_args if self._subparsers is None else self.parse_known_args
        parsed, unknown = parse(args, namespace)
        flags = [text.partition("=")[0] for text in unknown if text.startswith("-")]
        if unknown:
            near = difflib.get_close_matches(flags[0], self._option_string_actions, n=1) if flags else []
            hint = f"; did you mean {near[0]}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(flags or map(safe_name, unknown))}{hint}")
        return parsed

    def add_flags(self, title: str, flags: Mapping[str, Mapping[str, Any]]) -> None:
        """Add a group of flags, each with the arguments of `add_argument`."""
        group = self.add_argument_group(title)
        for flag, arguments in flags.items():
            group.add_argument(flag, **arguments)

    def add_settings(self, title: str, flags: Sequence[SettingFlag]) -> None:
        """Add a group of flags that `overrides_from` turns into settings."""
        self.add_flags(title, setting_options(flags))

    def add_switches(self, switches: Iterable[Switch]) -> None:
        """Add a group of switches that `overrides_from` turns into settings."""
        group = self.add_argument_group("switches")
        for flag, keys, value, text in switches:
            group.add_argument(flag, dest=f"{flag} {keys}", action="store_const", const=value, help=text)


def setting_options(flags: Sequence[SettingFlag]) -> dict[str, dict[str, Any]]:
    """The arguments of `add_argument`, by flag, for flags that `overrides_from` turns into settings."""
    return {flag: {"dest": f"{flag} {key}", "metavar": metavar, "help": text} for flag, key, metavar, text in flags}


def overrides_from(arguments: argparse.Namespace) -> dict[KeyPath, tuple[str, Any]]:
    """What the command line sets, by key path, with the flag that said so.

    Args:
        arguments: the `dest` of a flag that sets settings is the flag and the settings' keys, with spaces between
            them. `set` lists what `--set` was given.

    Raises:
        InputError: a model and a weight file are given, or what `--set` was given is no assignment.
    """
    overrides: dict[KeyPath, tuple[str, Any]] = {}
    for dest, value in vars(arguments).items():
        flag, *keys = dest.split(" ")
        for key in keys if value is not None else ():
            path = tuple(key.split("."))
            if path == ("model", "weights") and path in overrides:
                raise InputError(f"{overrides[path][0]} and {flag} exclude each other: give one")
            overrides[path] = (flag, value)
    for text in vars(arguments).get("set", ()):
        key_path, value = parse_assignment(text)
        overrides[key_path] = (f"--set {'.'.join(key_path)}", value)
    return overrides


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the moment: while a progress line is shown, that keeps messages above it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.setStream(sys.stderr)
        super().emit(record)


def set_up_logging(verbose: bool = False) -> None:
    """Send the log of the program's own packages to standard error, from INFO on; from DEBUG on with `verbose`."""
    handler = _StandardError()
    handler.setFormatter(logging.Formatter("stream_segment: %(message)s"))
    for name in PACKAGES:
        package_logger = logging.getLogger(name)
        package_logger.setLevel(logging.DEBUG if verbose else logging.INFO)
        package_logger.handlers = [handler]
        package_logger.propagate = False
