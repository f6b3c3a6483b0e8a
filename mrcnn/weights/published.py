"""Published models, by the names under which the program downloads and finds them.

Average precision and license are what the authors state. Nothing of it is reproduced here.

Checksums: torchvision's file names carry the first eight digits of the SHA-256; projects that use coco-r50-v2 publish
the rest of it, and CompressAI-Vision's installer that of coco-r50-3x. For coco, NVIDIA's TensorRT samples and Alibaba's
AI Matrix independently state an MD5. For coco-r101-3x neither a checksum nor the exact size is known: its layers, their
shapes and their values are checked instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModel:
    """A model that can be named instead of a weight file.

    Attributes:
        name: for the user.
        file_name: of the published file.
        url: its address; None for the model that is shipped.
        megabytes: its size, rounded.
        size: its exact size, bytes; None if unknown.
        digest: its checksum as "sha256:" or "md5:" and all or the first hexadecimal digits; "" if unknown.
        architecture: a name from `mrcnn.architecture.ARCHITECTURES`.
        backbone: a name from `mrcnn.config.BACKBONES`.
        num_classes: K, with the background.
        mask_ap: mask AP on COCO val2017 as published, percent; None if none is.
        license: what the authors state, and what they leave open.
    """

    name: str
    file_name: str
    url: str | None = None
    megabytes: int
    size: int | None = None
    digest: str = ""
    architecture: str
    backbone: str
    num_classes: int
    mask_ap: float | None = None
    license: str

    @property
    def local_name(self) -> str:
        """Name of its file in our layout: the published file itself, or its conversion."""
        return self.file_name if self.file_name.endswith(".h5") else f"{self.name}.h5"


_TORCHVISION: dict[str, Any] = {
    "backbone": "resnet50",
    "num_classes": 91,
    "license": "code BSD-3-Clause; none stated for the weights",
}
_DETECTRON2: dict[str, Any] = {"architecture": "detectron2", "num_classes": 81, "license": "CC BY-SA 3.0 (model zoo)"}
_DETECTRON2_URL = "https://dl.fbaipublicfiles.com/detectron2/COCO-InstanceSegmentation/"

_MODELS = (
    PublishedModel(
        name="person",
        file_name="stream_segment_person.h5",
        megabytes=9,
        architecture="matterport",
        backbone="efficientnet_lite0",
        num_classes=2,
        license="MIT; see its model card for the photographs",
    ),
    PublishedModel(
        name="coco",
        file_name="mask_rcnn_coco.h5",
        url="https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5",
        megabytes=258,
        size=257_557_808,
        digest="md5:e98aaff6f99e307b5e2a8a3ff741a518",
        architecture="matterport",
        backbone="resnet101",
        num_classes=81,
        license="MIT",
    ),
    PublishedModel(
        name="coco-r50",
        file_name="maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        url="https://download.pytorch.org/models/maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        megabytes=178,
        size=178_090_079,
        digest="sha256:bf2d0c1e",
        architecture="torchvision",
        mask_ap=34.6,
        **_TORCHVISION,
    ),
    PublishedModel(
        name="coco-r50-v2",
        file_name="maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
        url="https://download.pytorch.org/models/maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
        megabytes=186,
        size=185_828_065,
        digest="sha256:73cbd0190fcbe3ba339921fbce2c3a0b6bb9126c9a133c85e43a2a8e060a109e",
        architecture="torchvision_v2",
        mask_ap=41.8,
        **_TORCHVISION,
    ),
    PublishedModel(
        name="coco-r50-3x",
        file_name="model_final_f10217.pkl",
        url=_DETECTRON2_URL + "mask_rcnn_R_50_FPN_3x/137849600/model_final_f10217.pkl",
        megabytes=178,
        size=177_841_981,
        digest="sha256:9a737e290372f1f70994ebcbd89d8004dbb3ae30a605fd915a190fa4a782dd66",
        backbone="resnet50",
        mask_ap=37.2,
        **_DETECTRON2,
    ),
    PublishedModel(
        name="coco-r101-3x",
        file_name="model_final_a3ec72.pkl",
        url=_DETECTRON2_URL + "mask_rcnn_R_101_FPN_3x/138205316/model_final_a3ec72.pkl",
        megabytes=254,
        backbone="resnet101",
        mask_ap=38.6,
        **_DETECTRON2,
    ),
)
MODELS: Mapping[str, PublishedModel] = MappingProxyType({model.name: model for model in _MODELS})
"""The models by name."""
