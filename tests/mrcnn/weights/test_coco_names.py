"""COCO's names with and without gaps, against an independent list (examples/coco_labels.txt)."""

from pathlib import Path

from mrcnn.weights.coco_names import CATEGORIES, coco_names

EXAMPLE = Path(__file__).parents[3] / "examples" / "coco_labels.txt"


def test_consecutive_names():
    assert "\n".join(coco_names(81)) == EXAMPLE.read_text(encoding="utf-8").strip()


def test_category_ids_have_ten_gaps():
    names = coco_names(91)
    assert len(names) == len(set(names)) == 91
    gaps = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
    assert [index for index, name in enumerate(names) if name.startswith("unused")] == gaps
    assert [names[index] for index in (0, 11, 13, 27, 46, 90)] == [
        "BG", "fire hydrant", "stop sign", "backpack", "wine glass", "toothbrush",
    ]  # fmt: skip
    assert tuple(name for name in names if not name.startswith("unused")) == coco_names(81)
    assert names[12] == "unused 12"
    assert len(CATEGORIES) == 80


def test_other_numbers_of_classes_are_not_cocos():
    assert [coco_names(count) for count in (2, 80, 82, 90)] == [None] * 4
