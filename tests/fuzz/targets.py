"""What is fuzzed: for each input of the program, how a case is made, and which call reads it.

A target is a function of a `Bench` that returns a case: a function of a random generator, which writes what it needs
with `Bench.input`, has the program read it, and returns normally or raises what `REFUSALS` lists.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import yaml

from mrcnn.coco.annotation_file import AnnotationError
from mrcnn.training.annotated_images import EmptyClass, load_coco
from mrcnn.weights.hdf5 import WeightsError
from pipeline.errors import InputError, StreamSegmentError
from pipeline.labels import load_labels, resolve_classes
from pipeline.safe_uri import SourceUri
from pipeline.settings.loading import dump_settings, load_settings, parse_assignment
from pipeline.settings.schema import Settings
from pipeline.sources.factory import make_source
from pipeline.sources.uri import camera_names, parse_uri
from pipeline.web.camera_editing import is_allowed
from tests.fuzz.mutations import damaged, damaged_document, damaged_lines, odd_text, odd_value
from tests.pipeline.nasty_uris import NASTY_URIS
from tests.syntax_trees import ROOT

if TYPE_CHECKING:
    from tests.fuzz.requests import Page

REFUSALS = (StreamSegmentError, WeightsError, AnnotationError)
"""What the program answers to input that it cannot use. Its text has one line."""


@dataclass
class Bench:
    """Where a case lies, and what it must not touch.

    Attributes:
        folder: of the case; empty when it begins.
        bait: files that nobody names, but that inputs may point to.
        port: of this machine, which nobody may call.
        inputs: what the case has written, by path.
    """

    folder: Path
    bait: Path
    port: int
    inputs: dict[Path, bytes] = field(default_factory=dict)

    def input(self, name: str, content: bytes | str) -> Path:
        """Write an input of the case."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        path.write_bytes(data)
        self.inputs[path] = data
        return path

    def baits(self) -> tuple[str, ...]:
        """Names of the bait, as an attacker would write them into a file."""
        names = [str(self.bait / f"bait{suffix}") for suffix in (".txt", ".h5", ".mp4", ".ts", ".png", ".jsonl")]
        relative = [f"../bait/{Path(name).name}" for name in names]
        return (*names, *relative, *(f"file://{name}" for name in names), f"http://127.0.0.1:{self.port}/bait.mp4")


Case = Callable[[Random], object]
Target = Callable[[Bench], "Case | Page"]


def settings(bench: Bench) -> Case:
    """The settings file, and `--set`."""
    shipped = (ROOT / "config.yaml").read_text(encoding="utf-8")
    defaults = Settings().model_dump(mode="json")
    cameras = {"cameras": [{"name": "hall", "uri": "0"}, {"name": "gate", "uri": "rtsp://10.0.0.1/x", "weight": 2}]}
    places = {
        "counting": {
            "lines": [{"name": "door", "points": [[0.5, 0.0], [0.5, 1.0]]}],
            "zones": [{"name": "desk", "points": [[8, 8], [32, 8], [32, 32], [8, 32]]}],
        }
    }
    bomb = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 1}]" for i in range(9))
    knots = (
        *("a: &a [*a]", "<<: *x", "source: &s {uri: 0}\nserve: *s", "!!python/object/apply:os.system ['true']"),
        *("? [1]\n: 2", "a: !!binary ////", "a: 2001-01-01", "- 1", "a: &a {b: *a}", "%YAML 9.9\n---", "--- 1\n--- 2"),
        *("a: 1_000:59", bomb, "[" * 3000, "{a: " * 500),
    )

    def case(random: Random) -> None:
        match random.randrange(5):
            case 0:
                path = bench.input("a.yaml", damaged(random, shipped.encode()))
            case 1:
                path = bench.input("a.yaml", damaged_lines(random, shipped, knots))
            case _:
                document = defaults | random.choice(({}, cameras, places))
                text = yaml.safe_dump(damaged_document(random, document, bench.baits()), allow_unicode=True)
                path = bench.input("a.yaml", text)
        overrides = {}
        if random.random() < 0.3:
            section = random.choice(list(defaults))
            keys = list(defaults[section]) if isinstance(defaults[section], dict) else ["x"]
            value = random.choice((odd_text(random), json.dumps(odd_value(random)), "[", "&a [*a]", "!!int x"))
            key, parsed = parse_assignment(f"{section}.{random.choice(keys or ['x'])}={value}")
            overrides[key] = ("--set", parsed)
        loaded = load_settings(path, overrides)
        again = bench.input("again.yaml", dump_settings(loaded))
        with contextlib.suppress(InputError):  # secrets are in variables that are not set
            read = load_settings(again)
            assert dump_settings(read) == dump_settings(loaded)

    return case


def uris(bench: Bench) -> Case:
    """`--source`, and the sources that the page is given."""
    (bench.folder / "clips").mkdir()
    texts = (
        *NASTY_URIS,
        *(str(bench.folder), str(bench.folder / "clips/*.png"), "serial:x", "test:", "test:640x480@25", "0"),
        *("/dev/video0", "file:///tmp/a.mp4", "udp://@:1234", "rtsp://[::1]:554/x", "https://a.example/b.m3u8?c=d"),
    )
    pieces = (
        *("://", "/", "//", ":", "@", "?", "#", "[", "]", "%", "%00", "%zz", "*", "**", "[!", "..", "\\", "\0", "\n"),
        *(";", "file:", "rtsp:", "test:", "serial:", "/dev/", "9" * 400, "²", "٣", "\ud800", "a" * 300, "/" * 5000),
    )

    def case(random: Random) -> None:
        text = random.choice(texts)
        for _ in range(random.randint(0, 4)):
            at = random.randint(0, len(text))
            cut = random.choice((0, 0, 1, 5))
            text = text[:at] + random.choice((*pieces, odd_text(random))) + text[at + cut :]
        repr(SourceUri(text)), SourceUri(text).name
        is_allowed(text, [random.choice(texts)])
        refused = 0
        for call in (partial(parse_uri, text), partial(camera_names, [text, text])):
            try:
                call()
            except StreamSegmentError:
                refused += 1
        assert refused in (0, 2)
        make_source(Settings.model_validate({"source": {"uri": text}}).source)

    return case


def labels(bench: Bench) -> Case:
    """`--labels` and `--classes`."""
    text = (ROOT / "examples/coco_labels.txt").read_text(encoding="utf-8")

    def case(random: Random) -> None:
        changed = random.choice((damaged(random, text.encode()), damaged_lines(random, text)))
        names = load_labels(str(bench.input("labels.txt", changed)), random.choice((None, None, 81)))
        resolve_classes([random.choice((*names, odd_text(random), str(random.randrange(200))))], names)

    return case


def annotations(bench: Bench) -> Case:
    """COCO's JSON with a folder of images, for `train` and `evaluate`."""
    import cv2
    import numpy as np

    from tests.pipeline.report.stored import rle

    picture = cv2.imencode(".png", np.zeros((30, 50, 3), np.uint8))[1].tobytes()
    square = [10, 4, 30, 4, 30, 12, 10, 12]
    runs: dict[str, Any] = {"size": [30, 50], "counts": [0, 60, 1440]}
    text_runs = rle((10, 4, 30, 12), (30, 50))
    first = {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [square, square[:6]], "iscrowd": 0}
    size = {"height": 30, "width": 50}
    document = {
        "images": [{"id": 7, "file_name": "a.png", **size}, {"id": 8, "file_name": "b.png", **size}],
        "categories": [{"id": 3, "name": "cup"}, {"id": 1, "name": "person"}],
        "annotations": [
            {**first, "bbox": [10, 4, 20, 8]},
            {"id": 2, "image_id": 8, "category_id": 3, "segmentation": runs, "iscrowd": 1, "area": 60},
            {"id": 3, "image_id": 8, "category_id": 3, "segmentation": text_runs},
        ],
    }

    def case(random: Random) -> None:
        for name in ("a.png", "b.png"):
            bench.input(f"images/{name}", damaged(random, picture) if random.random() < 0.05 else picture)
        changed = json.dumps(damaged_document(random, document)).encode()  # its images may lie anywhere: no bait
        if random.random() < 0.3:
            changed = damaged(random, json.dumps(document).encode())
        path = bench.input("a.json", changed)
        classes = random.choice((None, ["person"], ["cup", "person"]))
        load_coco(bench.folder / "images", path, classes, random.choice(list(EmptyClass)))

    return case


def detections(bench: Bench) -> Case:
    """What `report` reads: detections files, and the folder of a batch; with all exports."""

    import matplotlib.font_manager

    from pipeline.report.coco_export import CocoExport
    from pipeline.report.collect import collect
    from pipeline.report.page import page
    from pipeline.report.parquet_export import ParquetExport
    from pipeline.report.report_input import find_sources
    from pipeline.report.youtube_vis_export import YoutubeVisExport
    from tests.pipeline.report.stored import RUN, line, one

    matplotlib.get_configdir(), matplotlib.get_cachedir()  # made when they are asked for; so are the fonts listed
    places = {"lines": [{"name": "door", "points": [[0.5, 0.0], [0.5, 1.0]]}]}
    event = {"event": "crossed", "pts": 0.1, "track_id": 1, "class_id": 1, "label": "person"}
    event |= {"line": "door", "direction": "in"}
    objects = one(track_id=1), one((30, 5, 40, 25), 2, "bus", track_id=2)
    lines = [line(0, *objects[:1], run=RUN | places, events=[event])]
    lines += [line(index, *objects, events=[event]) for index in range(1, 4)]
    outputs = {"detections": "clip.jsonl", "video": "clip.mp4"}
    summary = {
        "frames": 4,
        "files": [
            {"name": "clip.mp4", "state": "done", "outputs": outputs, "frames": 4},
            {"name": "x.mp4", "state": "failed", "reason": "corrupt"},
        ],
        "timings": {"wall_s": 1.5, "workers": 2, "files": {"clip.mp4": {"inference_p50_s": 0.1}}},
    }

    def case(random: Random) -> None:
        records = list(lines)
        for number in random.sample(range(len(lines)), random.choice((0, 1, 1, 2))):
            records[number] = damaged_document(random, lines[number], bench.baits())
        if random.random() < 0.1:
            source = random.choice(bench.baits())
            records = [{**record, "source": source} if isinstance(record, dict) else record for record in records]
        data = "".join(json.dumps(record) + "\n" for record in records).encode()
        if random.random() < 0.3:
            data = damaged(random, data)
        path = bench.input("clip.jsonl", data)
        if random.random() < 0.3:
            text = json.dumps(damaged_document(random, summary, bench.baits())).encode()
            bench.input("summary.json", damaged(random, text) if random.random() < 0.2 else text)
            path = bench.folder
        exports = [kind(io.BytesIO()) for kind in (CocoExport, YoutubeVisExport, ParquetExport)]
        report = collect("fuzz", find_sources([path]), exports)
        if random.random() < 0.05:  # plots take a tenth of a second
            page(report)

    return case


def weights_h5(bench: Bench) -> Case:
    """Keras' .h5."""
    from tests.fuzz.weight_files import h5_case

    return h5_case(bench)


def weights_pth(bench: Bench) -> Case:
    """PyTorch's .pth."""
    from tests.fuzz.weight_files import foreign_case

    return foreign_case(bench, ".pth")


def weights_pkl(bench: Bench) -> Case:
    """Detectron2's .pkl."""
    from tests.fuzz.weight_files import foreign_case

    return foreign_case(bench, ".pkl")


def weights_safetensors(bench: Bench) -> Case:
    """.safetensors."""
    from tests.fuzz.weight_files import foreign_case

    return foreign_case(bench, ".safetensors")


def video(bench: Bench) -> Case:
    """Video files, as a run reads them."""
    from tests.fuzz.media_files import video_case

    return video_case(bench)


def images(bench: Bench) -> Case:
    """Images, as a run reads them."""
    from tests.fuzz.media_files import image_case

    return image_case(bench)


def page(bench: Bench) -> Page:
    """Requests to every route of the page, of one source and of several cameras."""
    from tests.fuzz.requests import Page

    return Page(bench)


TARGETS: dict[str, tuple[Target, float]] = {
    "settings": (settings, 0.15),
    "uris": (uris, 0.15),
    "labels": (labels, 0.05),
    "annotations": (annotations, 0.1),
    "detections": (detections, 0.1),
    "h5": (weights_h5, 0.1),
    "pth": (weights_pth, 0.1),
    "pkl": (weights_pkl, 0.05),
    "safetensors": (weights_safetensors, 0.05),
    "video": (video, 0.05),
    "images": (images, 0.05),
    "page": (page, 0.05),
}
"""By name: the target, and its share of the cases."""
