"""A data set as scripts for Matterport's package define it: classes and images from one or more sources."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)


class Dataset:
    """Base class of data sets. A subclass fills it with `add_class` and `add_image`, then calls `prepare`.

    A subclass overrides `load_mask` and `image_reference`, and `load_image` where its images are not plain files.
    Several sources may be mixed: each gives its own ids to classes and images, and `prepare` numbers them anew from 0.

    Attributes:
        image_info: one dict an image: "id" within its source, "source", "path" and what `add_image` was given besides.
        class_info: one dict a class: "source", "id" within it, "name". The background comes first.
        num_classes, class_ids, class_names, num_images: set by `prepare`.
        class_from_source_map, image_from_source_map: "source.id" to the number here; set by `prepare`.
        sources, source_class_ids: names of the sources, and the class numbers of each; set by `prepare`.
    """

    def __init__(self, class_map: Any = None) -> None:
        self._image_ids: NDArray[np.int_] | list[int] = []
        self.image_info: list[dict[str, Any]] = []
        self.class_info: list[dict[str, Any]] = [{"source": "", "id": 0, "name": "BG"}]
        self.source_class_ids: dict[str, list[int]] = {}

    @property
    def image_ids(self) -> NDArray[np.int_] | list[int]:
        """Numbers of the images, 0 … num_images - 1; empty before `prepare`."""
        return self._image_ids

    def add_class(self, source: str, class_id: Any, class_name: str) -> None:
        """Add a class, unless this source has one of this id already.

        Raises:
            ValueError: the source's name contains a dot, which separates it from ids in the maps.
        """
        if "." in source:
            raise ValueError(f"the name of a source of classes must not contain a dot, got {source!r}")
        if any(info["source"] == source and info["id"] == class_id for info in self.class_info):
            return
        self.class_info.append({"source": source, "id": class_id, "name": class_name})

    def add_image(self, source: str, image_id: Any, path: Any, **kwargs: Any) -> None:
        """Add an image; further arguments are kept in its `image_info`."""
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})

    def image_reference(self, image_id: int) -> str:
        """A link or description by which a person finds the image at its source; for subclasses to override."""
        return ""

    def prepare(self, class_map: Any = None) -> None:
        """Number classes and images; call it after the last `add_class` and `add_image`."""
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
        """The class number here of "source.id" ("coco.12"); KeyError if there is none."""
        return self.class_from_source_map[source_class_id]

    def get_source_class_id(self, class_id: int, source: str) -> Any:
        """The id that `source` gives to class number `class_id`.

        Raises:
            ValueError: the class is of another source.
        """
        info = self.class_info[class_id]
        if info["source"] != source:
            raise ValueError(f"class {class_id} ({info['name']}) is of source {info['source']!r}, not {source!r}")
        return info["id"]

    def append_data(self, class_info: list[dict[str, Any]], image_info: list[dict[str, Any]]) -> None:
        """Add the classes and images of another data set; call `prepare` afterwards."""
        for info in class_info:
            if info["source"]:
                self.add_class(info["source"], info["id"], info["name"])
        self.image_info.extend(image_info)

    def source_image_link(self, image_id: int) -> Any:
        """Path or URL of an image, as given to `add_image`."""
        return self.image_info[image_id]["path"]

    def load_image(self, image_id: int) -> NDArray[np.uint8]:
        """Read an image; gray ones become color, an alpha channel is dropped, rotation tags are not applied.

        Returns:
            uint8 (H, W, 3), RGB.

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: the file is no image that can be read.
        """
        from mrcnn.coco.image_files import read_image_bgr

        path = self.image_info[image_id]["path"]
        image_bgr = read_image_bgr(path)
        if image_bgr is None:
            raise ValueError(f"{path} is not an image that can be read ({os.path.getsize(path)} bytes)")
        return np.ascontiguousarray(image_bgr[..., ::-1])

    def load_mask(self, image_id: int) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """Masks bool (H, W, N) and class numbers int32 (N,) of an image; for subclasses to override."""
        logger.warning("%s does not override load_mask: image %s has no masks", type(self).__name__, image_id)
        return np.empty((0, 0, 0)), np.empty(0, np.int32)
