"""When a bar is shown and when lines are; notes; durations."""

import io

import pytest
from rich.progress import BarColumn, TextColumn

from pipeline.console.progress_display import ProgressDisplay, duration_text, time_columns


class Steps(ProgressDisplay):
    """Three of four steps, and a text."""

    def __init__(self, output, has_bar=None):
        super().__init__(output, has_bar)
        columns = (BarColumn(), TextColumn("{task.completed}/{task.total} {task.fields[text]}"), *time_columns())
        self._add_bar("steps [3]", 4, columns, 3, {"text": "begun"})

    def move(self, done, text):
        self._move_bar(done, {"text": text})


def shown(output, has_bar=None):
    with Steps(output, has_bar) as steps:
        steps.note("[b]between[/b] 12")
        steps.move(4, "ended")
    return steps.has_bar, output.getvalue()


def test_a_terminal_has_a_bar_and_notes_above_it(terminal):
    has_bar, text = shown(terminal)
    assert has_bar
    assert "steps [3]" in text
    assert text.index("[b]between[/b] 12") < text.index("4/4 ended")
    assert "left" in text


def test_steps_already_done_count(terminal):
    with Steps(terminal):
        pass
    assert "3/4 begun" in terminal.getvalue()


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_pipe_has_no_bar_whatever_the_environment(monkeypatch, term):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert shown(io.StringIO()) == (False, "[b]between[/b] 12\n")


def test_a_terminal_without_a_cursor_gets_lines(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")  # a bar would be printed once, at the end
    assert shown(terminal) == (False, "[b]between[/b] 12\n")


def test_a_bar_can_be_forced_and_suppressed(terminal):
    has_bar, text = shown(io.StringIO(), True)
    assert has_bar
    assert "4/4 ended" in text
    assert shown(terminal, False) == (False, "[b]between[/b] 12\n")


def test_the_default_output_is_standard_error(capsys):
    Steps(None).note("a line")
    assert capsys.readouterr() == ("", "a line\n")


def test_durations():
    expected = {0.4: "0:00", 65: "1:05", 3599.4: "59:59", 3599.5: "1:00:00", 3725: "1:02:05", 90000: "25:00:00"}
    assert {seconds: duration_text(seconds) for seconds in expected} == expected
