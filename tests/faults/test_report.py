"""The command `report`, each of whose system calls on its files fails once."""

from __future__ import annotations

import json

import pyarrow.parquet
import pytest

from pipeline.commands.main import main
from tests.faults.file_system import enumerate_faults
from tests.pipeline.report.stored import line, one, write

NAMES = {"--output": "page.html", "--table": "table.parquet", "--coco": "coco.json", "--youtube-vis": "vis.json"}
THEIRS = b"somebody's own file"


@pytest.fixture
def make(capsys):
    """Prepares a report with all exports beside somebody's page."""

    def prepare(folder):
        clip = write(folder / "clip.jsonl", *(line(i, one(track_id=1)) for i in range(3)))
        before = clip.read_bytes()
        (folder / "page.html").write_bytes(THEIRS)
        codes = []

        def run():
            arguments = [text for flag, name in NAMES.items() for text in (flag, str(folder / name))]
            codes.append(main(["report", str(clip), *arguments]))

        def check(error):
            printed = capsys.readouterr()
            problems = [] if error is None else [f"{error!r}"]
            errors = [text for text in printed.err.splitlines() if text.startswith("stream_segment: error: ")]
            if (codes and codes[0] not in (0, 1, 2)) or (codes != [0]) != (len(errors) == 1):
                problems.append(f"exit code {codes} and {errors}")
            problems += [] if (folder / "page.html").read_bytes() == THEIRS else ["somebody's page is changed"]
            problems += [] if clip.read_bytes() == before else ["the detections are changed"]
            made = {path.name for path in folder.iterdir()} - {"clip.jsonl", "page.html"}
            expected = {name.replace(".", "-2.") for name in NAMES.values()}
            problems += [f"{name} is left" for name in made - expected]
            problems += ["not all was written"] * (codes == [0] and not made >= expected)
            return problems + [f"{name} is half a file" for name in made & expected if not is_whole(folder / name)]

        return run, check

    return prepare


def is_whole(path):
    try:
        if path.suffix == ".json":
            return bool(json.loads(path.read_bytes())["annotations"])
        if path.suffix == ".parquet":
            return pyarrow.parquet.read_table(path).num_rows == 3
    except (ValueError, OSError):
        return False
    return path.read_bytes().rstrip().endswith(b"</html>")


@pytest.mark.slow
def test_report(tmp_path, make):
    runs, problems = enumerate_faults(tmp_path, make, most=1)
    assert problems == []
    assert runs > 20
