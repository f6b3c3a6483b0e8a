"""Warnings as lines."""

from mrcnn.coco.annotation_errors import AnnotationWarnings, first_of


def test_a_line_for_each_kind_with_count_and_first_ids():
    warnings = AnnotationWarnings()
    for number in range(8):
        warnings.add("object without area", 100 + number)
    warnings.add("class without an object", "cup")
    assert warnings.lines() == [
        "8 x object without area: 100, 101, 102, 103, 104 and 3 more",
        "1 x class without an object: cup",
    ]


def test_few_names_are_all_told():
    assert first_of([3, "a"]) == "3, a"
    assert first_of([]) == ""
