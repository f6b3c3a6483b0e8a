"""Segmenters for rows, without a network."""

from __future__ import annotations

import contextlib

import numpy as np

from pipeline.errors import InputError
from tests.pipeline.fakes import FakeSegmenter, make_instances


class Engine(FakeSegmenter):
    """Finds as many objects as its settings make it."""

    def __init__(self, settings, finds):
        super().__init__()
        self.settings, self.finds = settings, finds

    @property
    def description(self):
        return f"fake {self.settings.get('engine', 'auto')}, {self.settings.get('precision', 'bfloat16')}"

    def segment(self, image_bgr: np.ndarray):
        self.seen.append(image_bgr.shape)
        return make_instances(self.finds)


def opening(monkeypatch, *modules, refused=()):
    """Let the modules open fakes: the reference finds three objects, everything else two. What they opened."""
    made = []

    @contextlib.contextmanager
    def opened(settings, report_from=None, workers=1):
        if settings.get("precision") in refused:
            raise InputError(f"{settings['precision']} is not here")
        engine = Engine(settings, 3 if settings.get("engine") == "keras" and settings["canvas"] == "square" else 2)
        made.append(engine)
        yield engine

    for module in modules:
        monkeypatch.setattr(module.models, "opened", opened)
    return made


def by_name(report):
    """The report's values by name."""
    return {value.name: value for value in report.values}
