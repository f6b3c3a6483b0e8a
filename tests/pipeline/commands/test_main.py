"""Errors and exit codes; signals are in tests/test_stream_segment.py."""

import io
import os
import sys
from dataclasses import replace
from functools import partial

import pytest

from pipeline.commands.main import main
from pipeline.runtime.stream import Stream
from tests.pipeline.fakes import FakeSegmenter, FakeSource


@pytest.mark.skipif(os.name == "nt", reason="Windows has no EPIPE")
def test_detections_that_nobody_reads_end_the_run_without_a_word(capsys, monkeypatch):
    source = FakeSource(500)
    monkeypatch.setattr("pipeline.commands.run.Stream", partial(Stream, source=source, segmenter=FakeSegmenter()))
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        code = main(["--no-window", "--detections", "-"])
    assert code == 141
    assert capsys.readouterr().err == "stream_segment: source: fake\n"
    assert source.given < 500


def test_a_command_whose_reader_goes_away(capsys, monkeypatch):
    def run(_):
        raise BrokenPipeError

    monkeypatch.setattr("pipeline.commands.weights.run", run)
    assert main(["weights"]) == 141
    assert capsys.readouterr().err == ""


def test_a_finished_run_of_a_file_whose_name_is_not_utf_8(monkeypatch):
    class Named(FakeSource):
        def open(self):
            return replace(super().open(), source_id="cl\udcffip.mp4")

    fakes = partial(Stream, source=Named(3), segmenter=FakeSegmenter())
    monkeypatch.setattr("pipeline.commands.run.Stream", fakes)
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)
    assert main(["--no-window"]) == 0
    assert stdout.buffer.getvalue().startswith(b"cl\xffip.mp4: finished after ")
