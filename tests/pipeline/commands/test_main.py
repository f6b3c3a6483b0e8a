"""Errors and exit codes; signals are in tests/test_stream_segment.py."""

import os
import sys
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
