"""The base class with which scripts for Matterport's package define a data set."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)


class Dataset:
    """Base class of data sets, filled by calls of `add_class` and `add_image`, then `prepare`.

    Subclasses override `load_mask` and `image_reference`, and `load_image` if their images are not plain files. A data
    set may combine several sources, each with its own ids of classes and images; `prepare` renumbers them from 0.

    Attributes:
        image_info: one dict per image: "id" within its source, "source", "path" and further arguments of `add_image`.
        class_info: one dict per class: "source", "id" within the source, "name". The background is the first.
        num_classes, class_ids, class_names, num_images: set by `prepare`.
        class_from_source_map, image_from_source_map: numbers in this data set by "source.id"; set by `prepare`.
        sources, source_class_ids: names of the sources, and the class numbers of each; set by `prepare`.
    """

    def __init__(self, class_map: Any = None) -> None:
        self._image_ids: NDArray[np.int_] | list[int] = []
        self.image_info: list[dict[str, Any]] = []
        self.class_info: list[dict[str, Any]] = [{"source": "", "id": 0, "name": "BG"}]
        self.source_class_ids: dict[str, list[int]] = {}

    @property
    def image_ids(self) -> NDArray[np.int_] | list[int]:
        """Image numbers, 0 … num_images - 1; empty before `prepare`."""
        return self._image_ids

    def add_class(self, source: str, class_id: Any, class_name: str) -> None:
        """Add a class, unless the source already has one with this id.

        Raises:
            ValueError: the source's name contains a dot, which separates sources from ids in the maps.
        """
        if "." in source:
            raise ValueError(f"the name of a source of classes must not contain a dot, got {source!r}")
        if any(info["source"] == source and info["id"] == class_id for info in self.class_info):
            return
        self.class_info.append({"source": source, "id": class_id, "name": class_name})

    def add_image(self, source: str, image_id: Any, path: Any, **kwargs: Any) -> None:
        """Add an image; further arguments are stored in its `image_info`."""
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})

    def image_reference(self, image_id: int) -> str:
        """A link or description with which a person finds the image at its source; subclasses override this."""
        return ""

    def prepare(self, class_map: Any = None) -> None:
        """Number classes and images; call this after the last `add_class` and `add_image`."""
        self.num_classes = len(self.class_info)
        self.class_ids = np.arange(self.num_classes)
        self.class_names = [info["name"].split(",")[0] for info in self.class_info]
        self.num_images = len(self.image_info)
        self._image_ids = np.arange(self.num_images)
        self.class_from_source_map = self._numbers(self.class_info)
        self.image_from_source_map = self._numbers(self.image_info)
        self.sources = list({info["source"]: None for info in self.class_info})
        self.source_class_ids = {
            source: [i for i, info in enumerate(self.class_info) if i == 0 or info["source"] == source]
            for source in self.sources
        }

    @staticmethod
    def _numbers(infos: list[dict[str, Any]]) -> dict[str, int]:
        return {f"{info['source']}.{info['id']}": number for number, info in enumerate(infos)}

    def map_source_class_id(self, source_class_id: str) -> int:
        """The class number of "source.id" ("coco.12"). Raises KeyError if it does not exist."""
        return self.class_from_source_map[source_class_id]

    def get_source_class_id(self, class_id: int, source: str) -> Any:
        """The id of class number `class_id` within `source`.

        Raises:
            ValueError: the class belongs to another source.
        """
        info = self.class_info[class_id]
        if info["source"] != source:
            raise ValueError(f"class {class_id} ({info['name']}) belongs to source {info['source']!r}, not {source!r}")
        return info["id"]

    def append_data(self, class_info: list[dict[str, Any]], image_info: list[dict[str, Any]]) -> None:
        """Add the classes and images of another data set; requires another call of `prepare`."""
        for info in class_info:
            if info["source"]:
                self.add_class(info["source"], info["id"], info["name"])
        self.image_info.extend(image_info)

    def source_image_link(self, image_id: int) -> Any:
        """Path or URL of an image, as passed to `add_image`."""
        return self.image_info[image_id]["path"]

    def load_image(self, image_id: int) -> NDArray[np.uint8]:
        """Read an image; converts grayscale to color, drops an alpha channel, and ignores rotation tags.

        Returns:
            uint8 (H, W, 3), RGB.

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: the file is not a readable image.
        """
        from mrcnn.coco.image_files import read_image_bgr

        path = self.image_info[image_id]["path"]
        image_bgr = read_image_bgr(path)
        if image_bgr is None:
            raise ValueError(f"{path} is not a readable image ({os.path.getsize(path)} bytes)")
        return np.ascontiguousarray(image_bgr[..., ::-1])

    def load_mask(self, image_id: int) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """Masks bool (H, W, N) and class numbers int32 (N,) of an image; subclasses override this."""
        logger.warning("%s does not override load_mask: image %s has no masks", type(self).__name__, image_id)
        return np.empty((0, 0, 0)), np.empty(0, np.int32)
