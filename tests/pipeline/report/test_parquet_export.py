"""The table, as pyarrow reads it: the numbers of the lines, to the last digit."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pyarrow import parquet

from pipeline.errors import InputError
from pipeline.report import parquet_export
from pipeline.report.detection_lines import StoredFrame
from pipeline.report.export import Origin
from pipeline.report.parquet_export import COLUMNS, ParquetExport
from tests.pipeline.report.stored import HEIGHT, WIDTH, line, one, rle


def exported(*lines):
    file = io.BytesIO()
    export = ParquetExport(file)
    for one_line in lines:
        frame = StoredFrame.model_validate_json(json.dumps(one_line))
        export.add(Origin.of("clip", frame), frame)
    export.complete()
    export.close()
    return parquet.ParquetFile(io.BytesIO(file.getvalue()))


def test_a_row_for_each_object_and_frame():
    box = (10.11, 5.5, 20.25, 25.75)
    first = one((10, 5, 20, 25), track_id=3, score=0.9983) | {"box": list(box)}
    file = exported(line(17, first, one((1, 1, 2, 2), 2, "bus", mask=False)), line(18), line(19, one(), camera="hall"))
    rows = file.read().to_pylist()
    assert rows[0] == {
        "recording": "clip",
        "camera": None,
        "source": "clip.mp4",
        "frame": 17,
        "pts_s": 1.7,
        "width": WIDTH,
        "height": HEIGHT,
        "class_id": 1,
        "label": "person",
        "score": 0.9983,
        "x1": 10.11,
        "y1": 5.5,
        "x2": 20.25,
        "y2": 25.75,
        "track_id": 3,
        "mask": rle((10, 5, 20, 25))["counts"],
    }
    assert [(row["frame"], row["label"], row["mask"] is None) for row in rows[1:]] == [
        (17, "bus", True),
        (19, "person", False),
    ]
    assert (rows[2]["camera"], rows[2]["recording"]) == ("hall", "clip/hall")
    types = {field.name: str(field.type) for field in file.schema_arrow}
    assert types == {name: {"float64": "double"}.get(kind, kind) for name, kind in COLUMNS.items()}


@pytest.mark.skipif(os.name == "nt", reason="names of files are Unicode")
def test_a_name_that_is_no_utf_8():
    frame = StoredFrame.model_validate_json(json.dumps(line(0, one())))
    file = io.BytesIO()
    export = ParquetExport(file)
    export.add(replace(Origin.of("clip", frame), name=os.fsdecode(b"caf\xe9.mp4")), frame)
    export.complete()
    (row,) = parquet.ParquetFile(io.BytesIO(file.getvalue())).read().to_pylist()
    assert row["recording"] == "caf\N{REPLACEMENT CHARACTER}.mp4"


def test_rows_are_written_in_groups(monkeypatch):
    monkeypatch.setattr(parquet_export, "ROWS_PER_GROUP", 4)
    file = exported(*(line(i, one(), one(), one()) for i in range(5)))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [6, 6, 3]


def test_without_objects_the_table_is_empty():
    assert exported(line(0)).read().num_rows == 0


def test_without_pyarrow_an_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"--table needs pyarrow: pip install -e \"\.\[tables\]\""):
        ParquetExport(io.BytesIO())


def test_the_documentation_lists_the_columns():
    page = (Path(__file__).parents[3] / "docs" / "report.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`((?:, `\w+`)*) \| (\w+) \|", page, re.MULTILINE)
    documented = {name: kind for first, more, kind in rows for name in [first, *re.findall(r"\w+", more)]}
    assert documented == COLUMNS


def test_an_export_that_is_given_up_prints_no_traceback(tmp_path):
    """Its writer, once it is garbage, would write to a file that is closed."""
    with open(tmp_path / "table.parquet", "wb") as file:
        export = ParquetExport(file)
        frame = StoredFrame.model_validate_json(json.dumps(line(0, one())))
        export.add(Origin.of("clip", frame), frame)
        export.close()
    with pytest.MonkeyPatch.context() as patch:
        ignored = []
        patch.setattr(sys, "unraisablehook", ignored.append)
        del export
        gc.collect()
    assert ignored == []
