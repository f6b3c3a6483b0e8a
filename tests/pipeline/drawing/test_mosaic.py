"""The mosaic: what each tile shows, that only changed ones are drawn, and where a click lands."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.drawing.chips import chip_size
from pipeline.drawing.mosaic import Mosaic, Tile
from pipeline.drawing.palette import PALETTE, TEXT_BACKGROUND

SIZE = (1280, 720)
FIRST, SECOND = (32, 17, 638, 358), (642, 17, 1248, 358)
"""The pictures of the upper two of four tiles, see test_grid.py."""


def plain(value, size_wh=(640, 360)):
    return np.full((size_wh[1], size_wh[0], 3), value, np.uint8)


def four(*tiles):
    return [*tiles, *(Tile(f"camera {i}", plain(90)) for i in range(4 - len(tiles)))]


def part(canvas, rectangle):
    x1, y1, x2, y2 = rectangle
    return canvas[y1:y2, x1:x2]


def test_pictures_lie_in_their_cells_without_distortion():
    picture = plain(0)
    picture[:, 160:480] = 200  # the middle half
    canvas = Mosaic(SIZE).draw(four(Tile("door", picture), Tile("yard", plain(120))))
    bright = np.flatnonzero(part(canvas, FIRST)[170, :, 0] > 100)
    assert abs(bright[0] - 151.5) <= 1
    assert abs(bright[-1] + 1 - 454.5) <= 1
    assert (part(canvas, SECOND) == 120).all()
    assert (canvas[:, :32] == 0).all()
    assert (canvas[:, 638:642] == 0).all()


@pytest.mark.parametrize("size_wh", [(606, 341), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160), (100, 56)])
def test_pictures_of_every_size_are_averaged(size_wh):
    # Stripes finer than a pixel of the tile become their mean where they are scaled by a half and less.
    picture = plain(0, size_wh)
    picture[:, ::2] = 200
    canvas = Mosaic(SIZE).draw(four(Tile("door", picture)))
    inside = part(canvas, FIRST)[5:-5, 5:-5].astype(int)
    assert abs(inside.mean() - 100) <= 1
    if size_wh[0] >= 1280:
        assert np.abs(inside - 100).max() <= 2


def test_non_square_pixels_are_stretched():
    mosaic = Mosaic(SIZE)
    canvas = mosaic.draw(four(Tile("door", plain(200, (720, 576)), pixel_aspect=64 / 45)))
    assert (part(canvas, FIRST) == 200).all()  # 1024 x 576 is 16:9


def test_an_offline_tile_is_dimmed_and_says_so():
    canvas = Mosaic(SIZE).draw(four(Tile("door", plain(200), slate="offline since 14:03"), Tile("yard", plain(200))))
    dimmed = part(canvas, FIRST)
    assert (dimmed[:100] == 70).all()  # 0.35 of it
    words = dimmed[150:190, 150:450]
    assert words.max() > 240
    rows, columns = np.nonzero((dimmed != 70).any(axis=2))
    assert abs(rows.min() + rows.max() - 341) <= 3
    assert abs(columns.min() + columns.max() - 606) <= 3
    assert (part(canvas, SECOND) == 200).all()


def test_a_camera_without_a_picture_is_gray_with_words_not_black():
    canvas = Mosaic(SIZE).draw(four(Tile("door", slate="connecting")))
    assert (part(canvas, FIRST)[:100] == 40).all()
    assert part(canvas, FIRST).max() > 240


def test_the_name_of_a_camera_without_a_live_picture_stands_out():
    canvas = Mosaic(SIZE).draw(four(Tile("door", plain(9), slate="offline"), Tile("yard", plain(9))))
    # The padding beside the first letter: the chip's color at 86 % on black.
    np.testing.assert_allclose(canvas[8, 32 + 2], [0.86 * channel for channel in PALETTE[1]], atol=1.5)
    np.testing.assert_allclose(canvas[8, 642 + 2], [0.86 * channel for channel in TEXT_BACKGROUND], atol=1.5)


def test_details_are_on_the_right_as_far_as_there_is_room():
    def captions(name, *details):
        return part(Mosaic(SIZE).draw(four(Tile(name, plain(90), details))), (32, 0, 638, 17)).copy()

    whole = captions("door", "15 fps", "masks 120 ms old")
    width = chip_size("15 fps · masks 120 ms old", 11.5)[0]
    assert whole[:, 606 - width :].any()
    assert not whole[:, 100 : 606 - width].any()
    long = "a name that leaves room for just one of the two entries beside itself on the screen"
    assert 606 - width < chip_size(long, 11.5)[0] < 606 - 80
    shorter = captions(long, "15 fps", "masks 120 ms old")
    np.testing.assert_array_equal(shorter[:, 550:], captions("door", "15 fps")[:, 550:])


def test_a_long_name_is_shortened():
    mosaic = Mosaic(SIZE)
    canvas = mosaic.draw(four(Tile("rtsp://192.168.1.20/" + "Streaming/" * 20, plain(90)), Tile("yard", plain(90))))
    assert (canvas[:17, 638:642] == 0).all()
    assert canvas[:17, 600:638].any()


def test_only_changed_tiles_are_drawn():
    mosaic = Mosaic(SIZE)
    tiles = four(Tile("door", plain(10), ("1 fps",)), Tile("yard", plain(20)))
    canvas = mosaic.draw(tiles)
    canvas[:] = 255  # what is drawn from now on replaces this
    mosaic.draw(tiles)
    assert (canvas == 255).all()
    mosaic.draw([tiles[0], Tile("yard", plain(30)), *tiles[2:]])
    assert (part(canvas, SECOND) == 30).all()
    canvas[17:358, 642:1248] = 255
    assert (canvas == 255).all()  # the caption of that tile is as before
    mosaic.draw([Tile("door", tiles[0].picture_bgr, ("2 fps",)), Tile("yard", plain(30)), *tiles[2:]])
    assert not (canvas[:17, 32:638] == 255).all()
    assert (part(canvas, FIRST) == 255).all()


def test_a_picture_that_comes_back_replaces_the_slate():
    mosaic = Mosaic(SIZE)
    picture = plain(200)
    mosaic.draw(four(Tile("door", picture, slate="offline since 14:03")))
    canvas = mosaic.draw(four(Tile("door", picture)))
    assert (part(canvas, FIRST) == 200).all()


def test_more_cameras_and_other_aspects_are_laid_out_anew():
    mosaic = Mosaic(SIZE)
    mosaic.draw([Tile("door", plain(200))])
    canvas = mosaic.draw(four(Tile("door", plain(200))))
    np.testing.assert_array_equal(canvas, Mosaic(SIZE).draw(four(Tile("door", plain(200)))))
    tall = four(Tile("door", plain(200, (360, 640))))
    np.testing.assert_array_equal(mosaic.draw(tall), Mosaic(SIZE).draw(tall))


def test_a_click_finds_its_tile():
    mosaic = Mosaic(SIZE)
    assert mosaic.tile_at(40, 40) is None  # nothing is drawn yet
    mosaic.draw(four())
    assert [mosaic.tile_at(x, y) for x, y in ((32, 0), (1247, 357), (32, 719), (700, 500))] == [0, 1, 2, 3]
    assert [mosaic.tile_at(x, y) for x, y in ((31, 5), (640, 100), (100, 360), (-1, -1))] == [None] * 4


@pytest.mark.parametrize("count", [1, 64])
@pytest.mark.parametrize("size_wh", [(320, 180), (180, 320)])
def test_the_smallest_window(count, size_wh):
    tiles = [Tile(f"camera {i}", plain(200), ("15 fps",), "offline" if i % 3 else "") for i in range(count)]
    canvas = Mosaic(size_wh).draw(tiles)
    assert canvas.shape == (size_wh[1], size_wh[0], 3)
    assert canvas.any()


@pytest.mark.parametrize(("picture_wh", "size_wh"), [((300, 16), (180, 181)), ((16, 300), (181, 180))])
@pytest.mark.parametrize("slate", ["", "offline since 14:03"])
def test_tiles_without_room_in_the_window_are_left_out(picture_wh, size_wh, slate):
    mosaic = Mosaic(size_wh)
    canvas = mosaic.draw([Tile("door", plain(200, picture_wh), slate=slate)] * 200)
    places = [mosaic.picture_at(index) for index in range(200)]
    inside = [place for place in places if min(place) >= 0 and place[2] <= size_wh[0] and place[3] <= size_wh[1]]
    assert 0 < len(inside) < 200
    if not slate:
        assert all((part(canvas, place) == 200).all() for place in inside)
