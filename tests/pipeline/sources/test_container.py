"""What opens as a video, what does not, and why."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from pipeline.errors import InputError
from pipeline.sources.container import explain, open_container, open_input
from tests.pipeline.sources.clips import with_damaged_tags, write_clip


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (av.error.ExitError, "timed out"),
        (av.error.ConnectionRefusedError, "connection refused"),
        (av.error.HTTPUnauthorizedError, "user name and password"),
        (av.error.HTTPNotFoundError, "404"),
        (av.error.EOFError, "ends before"),
    ],
)
def test_errors_are_explained(kind: type[av.FFmpegError], text: str) -> None:
    assert text in explain(kind(1, "raw text"))


def test_an_unknown_error_keeps_its_message() -> None:
    assert explain(av.error.OSError(28, "No space left")) == "No space left"


def test_files_open_even_if_tags_are_not_utf8(tmp_path):
    with open_input(str(with_damaged_tags(write_clip(tmp_path / "a.mp4", 4)))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 4
        assert container.metadata["comment"].startswith("caf")


PLAYLISTS = {
    ".m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    ".ffconcat": "ffconcat version 1.0\nfile {}\n",
}


@pytest.mark.parametrize("suffix", PLAYLISTS)
def test_a_playlist_under_its_own_name_plays_what_it_names(tmp_path: Path, suffix: str) -> None:
    write_clip(tmp_path / "a.ts", 3, codec="mpeg2video")
    (tmp_path / f"list{suffix}").write_text(PLAYLISTS[suffix].format("a.ts"), encoding="utf-8")
    with open_container(str(tmp_path / f"list{suffix}"), "list") as container:
        assert sum(1 for _ in container.decode(video=0)) == 3


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".ts", ""])
def test_a_playlist_that_is_named_like_a_video_opens_no_other_file(tmp_path: Path, kind: str, suffix: str) -> None:
    write_clip(tmp_path / "a.ts", 3, codec="mpeg2video")
    (tmp_path / f"list{suffix}").write_text(PLAYLISTS[kind].format("a.ts"), encoding="utf-8")
    with pytest.raises(InputError, match=r"^list is a playlist: name it list\.m3u8"):
        open_container(str(tmp_path / f"list{suffix}"), "list")


@pytest.mark.parametrize("location", ["file:{}", "{}"])
def test_other_readers_of_videos_follow_no_list_either(tmp_path: Path, location: str) -> None:
    write_clip(tmp_path / "a.ts", 3, codec="mpeg2video")
    (tmp_path / "list.mp4").write_text(PLAYLISTS[".ffconcat"].format("a.ts"), encoding="utf-8")
    with pytest.raises(av.FFmpegError):
        open_input(location.format(tmp_path / "list.mp4"))
