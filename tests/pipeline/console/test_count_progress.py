"""Progress of a command, on a terminal and elsewhere."""

import io

from pipeline.console.count_progress import CountProgress
from tests.pipeline.fakes import FakeClock


def test_lines_come_every_ten_seconds_with_the_time_left():
    output, clock = io.StringIO(), FakeClock()
    with CountProgress("images", 4000, output, clock) as progress:
        for seconds, done in ((1, 5), (11, 50), (12, 55), (21, 400), (3700, 3999), (3800, 4000)):
            clock.now_s = 100 + seconds
            progress.set(done)
    assert output.getvalue().splitlines() == [
        # 11 s for 50: 869 s for the other 3950
        "images: 50 of 4000 (1 %), 14:29 left",
        "images: 400 of 4000 (10 %), 3:09 left",
        "images: 3999 of 4000 (100 %), 0:01 left",
    ]


def test_hours():
    output, clock = io.StringIO(), FakeClock()
    progress = CountProgress("images", 101, output, clock)
    clock.now_s += 40
    progress.set(1)
    assert output.getvalue() == "images: 1 of 101 (1 %), 1:06:40 left\n"


def test_a_bar_on_a_terminal(terminal):
    with CountProgress("images", 3, terminal) as progress:
        progress.set(2)
    assert "2/3" in terminal.getvalue()
    assert "images" in terminal.getvalue()
