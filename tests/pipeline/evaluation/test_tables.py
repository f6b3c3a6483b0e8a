"""The tables of an evaluation as text."""

import io

from rich.console import Console

from pipeline.evaluation.scoring import evaluate
from pipeline.evaluation.tables import tables
from tests.pipeline.evaluation.scene import DOG, LARGE, PERSON, SMALL, KnownSegmenter, annotation, truth_of


def text_of(evaluation):
    console = Console(file=io.StringIO(), width=80)
    for table in tables(evaluation):
        console.print(table)
    return [line.split() for line in console.file.getvalue().splitlines() if line.strip()]


def test_sizes_and_classes(tmp_path):
    truth = truth_of(tmp_path, annotation(SMALL), annotation(LARGE, "dog"))
    rows = text_of(evaluate(KnownSegmenter({1: [(0.9, PERSON, SMALL), (0.5, DOG, SMALL)]}), truth, tmp_path))
    assert rows[0] == ["mask,", "by", "area", "of", "the", "object", "objects", "AP", "AP50", "AP75", "AR", "AR50"]
    assert rows[2] == ["all", "2", "0.500", "0.500", "0.500", "0.500", "0.500"]
    assert ["small:", "below", "32²", "1", "1.000", "1.000", "1.000", "1.000", "1.000"] in rows
    assert ["medium:", "32²", "to", "96²", "0", "-", "-", "-", "-", "-"] in rows
    assert ["above", "64²", "1", "0.000", "0.000", "0.000", "0.000", "0.000"] in rows
    assert rows[-4] == ["class", "objects", "mask", "AP", "AP50", "box", "AP", "AP50"]
    assert rows[-2:] == [
        ["person", "1", "1.000", "1.000", "1.000", "1.000"],
        ["Dog", "1", "0.000", "0.000", "0.000", "0.000"],
    ]


def test_one_class_needs_no_table_of_classes(tmp_path):
    segmenter = KnownSegmenter({1: [(0.9, PERSON, SMALL)]})
    found = evaluate(segmenter, truth_of(tmp_path, annotation(SMALL)), tmp_path, classes=["person"])
    assert [table.columns[0].header for table in tables(found)] == [
        "mask, by area of the object",
        "box, by area of the object",
    ]
