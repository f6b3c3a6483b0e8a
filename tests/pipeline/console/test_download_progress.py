"""Plain lines without a terminal: few, including the first and the last."""

import io

from pipeline.console.download_progress import DownloadProgress


def test_lines_come_at_every_tenth_and_once_each():
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


def test_notes_are_not_read_as_markup():
    text = io.StringIO()
    DownloadProgress("file.h5", 10, text).note("[bold]no connection[/bold]")
    assert text.getvalue() == "[bold]no connection[/bold]\n"
