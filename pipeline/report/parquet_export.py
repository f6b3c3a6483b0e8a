"""Exports detections as a Parquet table with a row for each object and frame."""

from __future__ import annotations

import contextlib
import os
from typing import IO, Any

from pipeline.errors import InputError
from pipeline.installation import install_command
from pipeline.report.detection_lines import StoredFrame, StoredObject
from pipeline.report.export import Export, Origin

ROWS_PER_GROUP = 10_000
"""What is collected before it is written: a few megabytes with masks."""

COLUMNS = {
    "recording": "string",
    "camera": "string",
    "source": "string",
    "frame": "int64",
    "pts_s": "float64",
    "width": "int32",
    "height": "int32",
    "class_id": "int32",
    "label": "string",
    "score": "float64",
    "x1": "float64",
    "y1": "float64",
    "x2": "float64",
    "y2": "float64",
    "track_id": "int32",
    "mask": "string",
}
"""Names and types of Arrow, as docs/report.md describes them."""


class ParquetExport(Export):
    """A table of COLUMNS.

    Args:
        file: opened for writing.

    Raises:
        InputError: pyarrow is not installed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise InputError(f"--table needs pyarrow: {install_command('tables')}") from None
        types = [(name, getattr(pyarrow, kind)()) for name, kind in COLUMNS.items()]
        self._schema = pyarrow.schema(types)
        self._table = pyarrow.Table
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, origin: Origin, frame: StoredFrame) -> None:
        self._rows += [row(origin, frame, one) for one in frame.objects]
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def complete(self) -> None:
        self._flush()
        self._writer.close()

    def close(self) -> None:
        """Close the writer, which would otherwise do that when the file is closed already, and print a traceback."""
        with contextlib.suppress(OSError, ValueError):
            self._writer.close()
        self._writer.is_open = False

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._table.from_pylist(self._rows, self._schema))
            self._rows = []


def row(origin: Origin, frame: StoredFrame, one: StoredObject) -> dict[str, Any]:
    """The row of one object, by column."""
    return {
        "recording": _as_utf8(origin.name),
        "camera": frame.camera,
        "source": _as_utf8(frame.source),
        "frame": frame.frame,
        "pts_s": frame.pts,
        "width": frame.width,
        "height": frame.height,
        "class_id": one.class_id,
        "label": one.label,
        "score": one.score,
        **dict(zip(("x1", "y1", "x2", "y2"), one.box, strict=True)),
        "track_id": one.track_id,
        "mask": None if one.mask is None else one.mask.counts,
    }


def _as_utf8(name: str) -> str:
    """A file's name, with U+FFFD for what is not UTF-8 in it."""
    return os.fsencode(name).decode(errors="replace")
