"""The layout of a mosaic: two worked out by hand, and what holds for every number of cameras."""

from __future__ import annotations

from itertools import combinations

import pytest

from pipeline.drawing.grid import arrange

WIDE, TALL, OLD = 16 / 9, 9 / 16, 4 / 3


def test_four_cameras_fill_the_screen():
    # Gaps of 4, cells of 638 x 358, text of 11.5 px: captions of 12 + 3 + 2 rows leave 341, which are 606 wide.
    grid = arrange([WIDE] * 4, (1280, 720))
    assert grid.size == 11.5
    assert [cell.picture for cell in grid.cells] == [
        (32, 17, 638, 358),
        (642, 17, 1248, 358),
        (32, 379, 638, 720),
        (642, 379, 1248, 720),
    ]
    assert [cell.caption for cell in grid.cells[:2]] == [(32, 0, 638, 17), (642, 0, 1248, 17)]


def test_a_narrow_picture_has_a_wider_caption_above_it():
    # Cells of 638 x 720, text of 16 px, captions of 16 + 4 + 2 rows: pictures of 638 x 359 and 393 x 698.
    grid = arrange([WIDE, TALL], (1280, 720))
    assert [cell.picture for cell in grid.cells] == [(0, 191, 638, 550), (764, 22, 1157, 720)]
    assert [cell.caption for cell in grid.cells] == [(0, 169, 638, 191), (753, 0, 1169, 22)]  # 26 times 16 px
    narrow = arrange([WIDE] * 8 + [0.2], (1280, 720)).cells[8]
    assert narrow.caption[2] - narrow.caption[0] == 260  # 26 times 10 px
    assert narrow.picture[2] - narrow.picture[0] < 50
    assert abs(sum(narrow.caption[::2]) - sum(narrow.picture[::2])) <= 1  # centered above it


@pytest.mark.parametrize(
    ("count", "size_wh", "in_rows"),
    [
        (1, (1920, 1080), [1]),
        (2, (1920, 1080), [2]),
        (2, (1080, 1920), [1, 1]),
        (3, (1920, 1080), [2, 1]),
        (5, (1920, 1080), [3, 2]),
        (9, (1920, 1080), [3, 3, 3]),
        (16, (1920, 1080), [4, 4, 4, 4]),
        (5, (1080, 1920), [1, 1, 1, 1, 1]),
        (64, (1920, 1080), [8] * 8),
    ],
)
def test_rows_follow_the_number_and_the_screen(count, size_wh, in_rows):
    cells = arrange([WIDE] * count, size_wh).cells
    tops = [cell.picture[1] for cell in cells]
    assert [tops.count(top) for top in sorted(set(tops))] == in_rows
    last = [cell.picture for cell in cells[-in_rows[-1] :]]
    assert abs(last[0][0] + last[-1][2] - size_wh[0]) <= 1  # centered


@pytest.mark.parametrize("size_wh", [(1280, 720), (1920, 1080), (1080, 1920), (2560, 1080), (320, 180), (180, 320)])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 16, 37, 64])
@pytest.mark.parametrize("aspects", [(WIDE,), (WIDE, TALL, OLD), (TALL,)])
def test_tiles_keep_their_aspect_and_lie_apart_on_the_screen(size_wh, count, aspects):
    aspects = [aspects[index % len(aspects)] for index in range(count)]
    cells = arrange(aspects, size_wh).cells
    rectangles = [rectangle for cell in cells for rectangle in (cell.caption, cell.picture)]
    assert len(rectangles) == 2 * count
    for x1, y1, x2, y2 in rectangles:
        assert 0 <= x1 < x2 <= size_wh[0]
        assert 0 <= y1 < y2 <= size_wh[1]
    for a, b in combinations(rectangles, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    for cell, aspect in zip(cells, aspects, strict=True):
        width, height = cell.picture[2] - cell.picture[0], cell.picture[3] - cell.picture[1]
        assert abs(width - height * aspect) <= max(1, aspect) / 2 or abs(height - width / aspect) <= max(1, 1 / aspect)


def test_a_cell_is_its_caption_and_its_picture():
    cell = arrange([WIDE] * 4, (1280, 720)).cells[0]
    assert cell.contains(32, 0)
    assert cell.contains(637, 357)
    assert not cell.contains(638, 357)
    assert not cell.contains(637, 358)
    assert not cell.contains(31, 5)
