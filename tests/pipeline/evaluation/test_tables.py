"""Tables and plots of evaluations."""

import io

import numpy as np
from rich.console import Console

from mrcnn.coco.average_precision import AREAS, AveragePrecision
from pipeline.evaluation.scoring import ClassMatch, Evaluation, evaluate
from pipeline.evaluation.tables import Measured, comparison_plot, comparison_table, tables
from pipeline.sources.images import load_image
from tests.pipeline.evaluation.scene import DOG, LARGE, PERSON, SMALL, KnownSegmenter, annotation, truth_of


def numbers(ap, image_ms):
    """Numbers of which each size's AP is the given one plus its place in AREAS, hundredths."""
    masks = {area: AveragePrecision(5, ap + place / 100, 0.9, 0.5, 0.6, 0.7) for place, area in enumerate(AREAS)}
    boxes = {area: AveragePrecision(5, ap / 2, 0.9, 0.5, 0.6, 0.7) for area in AREAS}
    return Evaluation(
        ClassMatch({}, {}, (), ()), 10, 5, 0, 20, {"mask": masks, "box": boxes}, {"mask": {}, "box": {}}, image_ms
    )


LINES = [
    Measured("person", "openvino", "int8", "Mask R-CNN; OpenVINO, int8", numbers(0.3, 20.4)),
    Measured("coco-r50", "openvino", "float32", "Mask R-CNN; OpenVINO, float32", numbers(0.4, 1200.0)),
    Measured("coco-r50", "keras", "int8", reason="Keras computes in float32, bfloat16 and float16"),
]


def test_the_table_has_a_row_for_each_line_and_says_why_one_has_no_numbers():
    console = Console(width=80, record=True)
    console.print(comparison_table(LINES))
    text = console.export_text()
    rows = [line.split() for line in text.splitlines()]
    assert ["mask", "AP", "of", "AP", "AP50", "small", "medium", "large", "box", "AP", "ms"] in rows
    first, second, third = (row for row in rows if len(row) > 3 and row[2] in ("int8", "float32"))
    assert first == ["person,", "openvino,", "int8", "0.300", "0.900", "0.310", "0.320", "0.330", "0.150", "20"]
    assert second[3:] == ["0.400", "0.900", "0.410", "0.420", "0.430", "0.200", "1200"]
    assert third == ["coco-r50,", "keras,", "int8", *"-------"]
    assert "coco-r50, keras, int8: Keras computes in float32, bfloat16 and float16" in text


def test_the_record_keeps_names_and_numbers():
    assert LINES[0].record()["mask"]["by_size"]["all"]["AP"] == 0.3
    assert LINES[0].record()["model"] == "Mask R-CNN; OpenVINO, int8"
    assert LINES[2].record() == {
        "model": "coco-r50, keras, int8",
        "error": "Keras computes in float32, bfloat16 and float16",
    }


def test_the_plot_shows_each_measured_line_in_its_models_color(tmp_path):
    (tmp_path / "plot.png").write_bytes(comparison_plot(LINES, "png"))
    picture_bgr = load_image(tmp_path / "plot.png")
    for color_bgr in ((180, 119, 31), (14, 127, 255)):  # Matplotlib's first two colors
        assert np.all(np.abs(picture_bgr.astype(int) - color_bgr) < 8, axis=2).sum() > 50


def test_the_plot_shows_whole_markers_where_nothing_is_found(tmp_path):
    pixels = []
    for ap in (0.0, 0.5):
        line = Measured("person", "openvino", "int8", evaluation=numbers(ap, 20.4))
        (tmp_path / "plot.png").write_bytes(comparison_plot([line], "png"))
        difference = np.abs(load_image(tmp_path / "plot.png").astype(int) - (180, 119, 31))
        pixels.append(np.all(difference < 8, axis=2).sum())
    assert pixels[0] > 0.8 * pixels[1]  # half of one marker and one in the legend would be 0.75


def text_of(evaluation):
    console = Console(file=io.StringIO(), width=80)
    for table in tables(evaluation):
        console.print(table)
    return [line.split() for line in console.file.getvalue().splitlines() if line.strip()]


def test_tables_of_sizes_and_classes(tmp_path):
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
