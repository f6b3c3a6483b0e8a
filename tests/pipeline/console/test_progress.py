"""When a bar is shown and when lines are; notes; durations; counts, downloads, training."""

import io

import pytest
from rich.progress import BarColumn, TextColumn

from pipeline.console.progress import (
    CountProgress,
    DownloadProgress,
    ProgressDisplay,
    TrainProgress,
    duration_text,
    losses_text,
    time_columns,
    validation_text,
)
from tests.pipeline.fakes import FakeClock


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
    expected = {0.4: "0.4 s", 59.94: "59.9 s", 60: "1:00 min", 65: "1:05 min", 3599.4: "59:59 min"}
    expected |= {3599.6: "1:00:00", 3725: "1:02:05", 90000: "25:00:00"}
    assert {seconds: duration_text(seconds) for seconds in expected} == expected


def test_lines_of_counts_come_every_ten_seconds_with_the_time_left():
    output, clock = io.StringIO(), FakeClock()
    with CountProgress("images", 4000, output, clock) as progress:
        for seconds, done in ((1, 5), (11, 50), (12, 55), (21, 400), (3700, 3999), (3800, 4000)):
            clock.now_s = 100 + seconds
            progress.set(done)
    assert output.getvalue().splitlines() == [
        # 11 s for 50: 869 s for the other 3950
        "images: 50 of 4000 (1 %), 14:29 min left",
        "images: 400 of 4000 (10 %), 3:09 min left",
        "images: 3999 of 4000 (100 %), 0.9 s left",
    ]


def test_hours_left_of_a_count():
    output, clock = io.StringIO(), FakeClock()
    progress = CountProgress("images", 101, output, clock)
    clock.now_s += 40
    progress.set(1)
    assert output.getvalue() == "images: 1 of 101 (1 %), 1:06:40 left\n"


def test_a_bar_of_counts_on_a_terminal(terminal):
    with CountProgress("images", 3, terminal) as progress:
        progress.set(2)
    assert "2/3" in terminal.getvalue()
    assert "images" in terminal.getvalue()


def test_lines_of_a_download_come_at_every_tenth_and_once_each():
    text = io.StringIO()
    with DownloadProgress("file.h5", 2_000_000, text) as progress:
        for received in range(0, 2_000_001, 50_000):
            progress.set(received)
    lines = text.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["0", "10", "20", "30", "40", "50", "60", "70", "80", "90", "100"]
    assert lines[1] == "file.h5: 10 % (0.2 of 2.0 MB)"


def test_a_resumed_download_begins_where_it_is():
    text = io.StringIO()
    with DownloadProgress("file.h5", 1000, text) as progress:
        progress.set(377)
        progress.set(399)
        progress.set(400)
    assert [line.split()[1] for line in text.getvalue().splitlines()] == ["37", "40"]


def test_notes_of_a_download_are_not_read_as_markup():
    text = io.StringIO()
    DownloadProgress("file.h5", 10, text).note("[bold]no connection[/bold]")
    assert text.getvalue() == "[bold]no connection[/bold]\n"


def test_lines_of_training_with_losses_and_the_time_left():
    output, now = io.StringIO(), [100.0]
    with TrainProgress(0, 200, output, lambda: now[0]) as progress:
        for step in range(1, 201):
            now[0] += 2.0
            line = {"step": step}
            if step % 10 == 0:
                line |= {"loss": 2.5, "rpn_class_loss": 0.1, "mrcnn_mask_loss": 0.425, "category_loss": 9}
            progress.report(line)
    lines = output.getvalue().splitlines()
    # losses come every 20 s, so that a line is due each time
    assert lines[0] == "step 10 of 200 (5 %), loss 2.500 rpn 0.100 mask 0.425, 6:20 min left"
    assert [line.split()[1] for line in lines] == [str(step) for step in range(10, 201, 10)]
    assert lines[-1].endswith("0.0 s left")


def test_validation_time_does_not_count_as_a_step():
    output, now = io.StringIO(), [0.0]
    with TrainProgress(0, 10, output, lambda: now[0]) as progress:
        for step in (1, 2):
            now[0] += 1.0
            progress.report({"step": step})
        now[0] += 1000.0
        progress.report({"step": 2, "val_loss": 1.25, "mask_ap50": 0.5})
        for step in (3, 4):
            now[0] += 1.0 if step == 3 else 10.0
            progress.report({"step": step, "loss": 2.0})
    assert output.getvalue().splitlines() == [
        "step 2: validation loss 1.250, mask AP50 0.500",
        "step 3 of 10 (30 %), loss 2.000, ? left",
        "step 4 of 10 (40 %), loss 2.000, 1:00 min left",
    ]


def test_a_bar_of_training_on_a_terminal(terminal):
    with TrainProgress(40, 50, terminal) as progress:
        progress.report({"step": 41, "loss": 2.0, "mrcnn_bbox_loss": 0.5})
        progress.report({"step": 41, "val_loss": 1.0, "mask_ap50": None})
    text = terminal.getvalue()
    assert "41/50" in text
    assert "loss 2.000 box 0.500" in text
    assert "step 41: validation loss 1.000, mask AP50 unknown (no objects)" in text


def test_losses_and_validation_as_text():
    assert losses_text({"loss": 1, "mrcnn_class_loss": 0.25}) == "loss 1.000 class 0.250"
    line = {"step": 7, "val_loss": 1.0, "mask_ap50": 0.25, "ap50_by_class": {"cup": 0.5, "dog": 0.0, "owl": None}}
    assert validation_text(line) == "step 7: validation loss 1.000, mask AP50 0.250 (cup 0.500, dog 0.000)"
    line["ap50_by_class"] = {"cup": 0.25}
    assert validation_text(line) == "step 7: validation loss 1.000, mask AP50 0.250"
