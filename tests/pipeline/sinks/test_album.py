"""Images that were shown, and stepping through them."""

from pipeline.sinks.album import Album
from tests.pipeline.sinks.presentations import presentation

BYTES = 96 * 64 * 3


def index_of(shown):
    return None if shown is None else shown.segmented.frame.index


def test_steps_back_and_forward():
    album = Album()
    assert album.step(-1) is None
    for i in range(3):
        album.add(presentation(i))
    assert [index_of(album.step(by)) for by in (1, -1, -1, -1, 1, 1, 1)] == [None, 1, 0, None, 1, 2, None]


def test_a_new_image_is_the_current_one():
    album = Album()
    album.add(presentation(0))
    album.add(presentation(1))
    album.step(-1)
    album.add(presentation(2))
    assert index_of(album.step(-1)) == 1


def test_the_oldest_are_dropped_and_the_newest_never():
    album = Album(max_bytes=2 * BYTES)
    for i in range(4):
        album.add(presentation(i))
    assert [index_of(album.step(-1)) for _ in range(2)] == [2, None]
    album = Album(max_bytes=1)
    album.add(presentation(0))
    album.add(presentation(1))
    assert album.step(-1) is None
    assert index_of(album.step(0)) == 1
