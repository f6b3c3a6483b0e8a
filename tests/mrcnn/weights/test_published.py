"""The published models: what the table says agrees with itself, with the architectures, and with the file names."""

import re
from pathlib import PurePosixPath

import pytest

from mrcnn.architecture import ARCHITECTURES
from mrcnn.config import BACKBONES
from mrcnn.weights.published import MODELS

DOWNLOADED = [model for model in MODELS.values() if model.url is not None]


def test_the_names():
    assert list(MODELS) == ["person", "coco", "coco-r50", "coco-r50-v2", "coco-r50-3x", "coco-r101-3x"]
    assert len({model.local_name for model in MODELS.values()}) == len(MODELS)
    assert [MODELS[name].local_name for name in ("person", "coco", "coco-r50")] == [
        "stream_segment_person.h5",
        "mask_rcnn_coco.h5",
        "coco-r50.h5",
    ]


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_networks(model):
    assert model.backbone in BACKBONES
    settings = ARCHITECTURES[model.architecture].settings
    assert model.num_classes == settings.get("NUM_CLASSES", model.num_classes)
    assert model.license


@pytest.mark.parametrize("model", DOWNLOADED, ids=lambda model: model.name)
def test_addresses_sizes_and_checksums(model):
    assert model.url.startswith("https://")
    assert PurePosixPath(model.url).name == model.file_name
    assert model.size is None or round(model.size / 1e6) == model.megabytes
    assert re.fullmatch(r"|sha256:([0-9a-f]{8}|[0-9a-f]{64})|md5:[0-9a-f]{32}", model.digest)
    if model.architecture.startswith("torchvision"):
        named = re.search(r"-([0-9a-f]{8})\.pth$", model.file_name)[1]
        assert model.digest.startswith(f"sha256:{named}")


def test_the_one_model_without_a_checksum():
    assert [model.name for model in DOWNLOADED if not model.digest] == ["coco-r101-3x"]
