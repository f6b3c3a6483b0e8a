import io
import json
import math

import pytest
from rich.console import Console

from benchmarks.measuring import RowReport, Spread, Value, at_least
from benchmarks.report import as_markdown, as_table, measured, number, read_json, spread_text, target_text, write_json

MACHINE = {
    "date": "2026-01-02T03:04:05+00:00",
    "cpu": "Some CPU",
    "cores": 2,
    "cpu_flags": ["avx2"],
    "memory_gb": 8.0,
    "load_at_start": 0.1,
    "python": "3.11.7",
    "versions": {"numpy": "2.4"},
    "commit": "abc",
}


def reports():
    good = [
        Value("rate", Spread(12.345, 11, 13, 5), "fps", at_least(10), "a|note"),
        Value("share", Spread.one(0.5), "", at_least(0.95)),
        Value("plain", Spread.one(3)),
    ]
    return [
        RowReport("one", "row one", good, {"engine": "engine E", "deeper": {"engine": "engine F"}}, ["mind this"]),
        RowReport("two", "row two", error="Traceback …\nValueError: it [broke]"),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (1.0, "1.00"), (12.345, "12.3"), (1234.5, "1234"), (-2.5, "-2.50")],
)
def test_numbers_have_three_digits_that_count(value, text):
    assert number(value) == text


def test_texts_of_a_value():
    value = reports()[0].values[0]
    assert (measured(value), spread_text(value.spread), target_text(value.target)) == (
        "12.3 fps",
        "11.0 … 13.0, n = 5",
        "at least 10",
    )
    assert number(math.nan) == "nothing found"
    assert spread_text(Spread.one(1)) == target_text(None) == ""


def test_table_says_reached_missed_and_failed():
    out = io.StringIO()
    Console(file=out, width=160).print(as_table(reports()))
    lines = out.getvalue().splitlines()
    assert any("rate" in line and "reached" in line for line in lines)
    assert any("share" in line and "missed" in line for line in lines)
    assert any("FAILED" in line and "ValueError: it [broke]" in line for line in lines)


def test_markdown_from_the_file(tmp_path):
    path = tmp_path / "cpu.json"
    write_json(path, {"machine": MACHINE, "rows": [report.as_json() for report in reports()]})
    assert json.loads(path.read_text())["rows"][0]["values"][1]["reached"] is False
    assert [p.name for p in tmp_path.iterdir()] == ["cpu.json"]
    text = as_markdown(read_json(path))
    assert text.startswith("2026-01-02, commit abc: 2 cores of Some CPU (avx2), 8.0 GB")
    assert "| rate (a\\|note) | 12.3 fps | 11.0 … 13.0, n = 5 | at least 10 | reached |" in text
    assert "| share | 0.500 |  | at least 0.95 | missed |" in text
    assert "not measured: ValueError: it [broke]" in text
    assert "- one: engine E\n- one: engine F\n- one: mind this\n" in text


def test_what_is_no_number_is_null_and_comes_back(tmp_path):
    path = tmp_path / "x.json"
    report = RowReport("r", "r", [Value("v", Spread.one(math.nan), "%", at_least(97))])
    write_json(path, {"machine": MACHINE, "rows": [report.as_json()]})
    assert json.loads(path.read_text())["rows"][0]["values"][0]["spread"]["median"] is None
    assert "| v | nothing found % |  | at least 97 | missed |" in as_markdown(read_json(path))


def test_files_are_written_without_the_folders_of_the_machine(tmp_path):
    record = {"rows": [], "options": {"weights": str(tmp_path / "mine.h5"), "why": "a/b is no path of this machine"}}
    write_json(tmp_path / "out.json", record)
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert written["options"] == {"weights": "mine.h5", "why": "a/b is no path of this machine"}
