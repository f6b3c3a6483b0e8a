"""What every test gets: no thread of ours may outlive the test that started it, logging is left as it was.

Tests of a browser or a window skip where their programs are missing. STREAM_SEGMENT_REQUIRE=browser,window turns such a
skip into a failure.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import shutil
import threading

import pytest

from pipeline.commands.program import PACKAGES
from pipeline.threads.stage import THREAD_PREFIX

REQUIRED = os.environ.get("STREAM_SEGMENT_REQUIRE", "").split(",")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Importing all tests makes a million objects, all of which stay: looking for garbage takes a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_runtest_setup(item):
    for marker in item.iter_markers():
        missing = missing_programs(marker)
        if missing:
            give_up = pytest.fail if marker.name in REQUIRED else pytest.skip
            give_up(f"needs {' and '.join(missing)}, not found on PATH")


def missing_programs(marker):
    """What a test with this mark needs and PATH does not have."""
    if marker.name == "browser":
        from tests.pipeline.web.browser import NAMES, find_browser

        return [] if find_browser() else [" or ".join(NAMES)]
    return [name for name in marker.args if shutil.which(name) is None] if marker.name == "window" else []


@pytest.fixture(autouse=True)
def _no_thread_left_behind():
    yield
    left = [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_PREFIX)]
    for thread in left:
        thread.join(5.0)
    alive = [thread.name for thread in left if thread.is_alive()]
    assert not alive, f"threads outlived the test: {alive}"


@pytest.fixture(autouse=True)
def _logging_as_before():
    loggers = [logging.getLogger(name) for name in PACKAGES]
    before = [(logger, logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    yield
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers, logger.propagate = handlers, propagate


@pytest.fixture
def terminal(monkeypatch):
    """What is written to it is kept as text; whoever asks is told that it is a terminal, 100 columns wide."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()


@pytest.fixture(scope="session")
def seeded_small_weights(tmp_path_factory):
    """A real network in a real file, without meaning: it finds "person" wherever its region proposals point.

    Three classes, EfficientNet-Lite0, 256 px."""
    import keras
    import numpy as np

    from mrcnn.config import Config
    from mrcnn.network.network import MaskRCNNNetwork
    from mrcnn.weights.load_save import save_weights
    from mrcnn.weights.metadata import describe

    class Small(Config):
        NAME = "small"
        BACKBONE = "efficientnet_lite0"
        GPU_COUNT = IMAGES_PER_GPU = 1
        NUM_CLASSES = 3
        TOP_DOWN_PYRAMID_SIZE = 32
        FPN_CLASSIF_FC_LAYERS_SIZE = 64
        MASK_HEAD_CHANNELS = 32
        RPN_CHANNELS = 32
        IMAGE_MIN_DIM, IMAGE_MAX_DIM = 200, 256
        POST_NMS_ROIS_INFERENCE = 50
        DETECTION_MAX_INSTANCES = 6

    keras.utils.set_random_seed(5)
    config = Small()
    network = MaskRCNNNetwork(config)
    layers = network.layers_by_name()
    layers["mrcnn_class_logits"].bias.assign(np.array([0.0, 9.0, 0.0], np.float32))
    layers["mrcnn_mask"].bias.assign(np.array([0.0, 4.0, 0.0], np.float32))
    path = tmp_path_factory.mktemp("weights") / "small.h5"
    save_weights(network, path, describe(config, ["BG", "person", "dog"]))
    return path
