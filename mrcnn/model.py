"""`MaskRCNN` and its helpers, with the names that users of Matterport's package know.

Letters: B images of a batch (BATCH_SIZE); H, W pixels of an image or of the canvas it is molded to; N instances; K
classes with the background; A anchors. Boxes are (y1, x1, y2, x2); y2 and x2 of a pixel box lie outside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from . import utils
from .network.anchors import feature_shapes, pyramid_anchors
from .network.detector import Detector, RawDetections
from .network.network import MaskRCNNNetwork
from .weights import load_weights, save_weights

IMAGENET_URL = (
    "https://github.com/fchollet/deep-learning-models/releases/download/v0.2/"
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
IMAGENET_MD5 = "a268eb855778b3df3c7506639542a6af"


def log(text: str, array: np.ndarray | None = None) -> None:
    """Print a line; for an array also its shape, smallest and largest value and dtype."""
    if array is not None:
        low, high = (f"{array.min():10.5f}", f"{array.max():10.5f}") if array.size else (" " * 10, " " * 10)
        text = f"{text:25}shape: {array.shape!s:20}  min: {low}  max: {high}  {array.dtype}"
    print(text)


def compute_backbone_shapes(config, image_shape: Sequence[int]) -> np.ndarray:
    """Rows and columns of each pyramid level: int (5, 2), for a canvas of image_shape (H, W, ...)."""
    if callable(config.BACKBONE) and config.COMPUTE_BACKBONE_SHAPE is not None:
        return np.asarray(config.COMPUTE_BACKBONE_SHAPE(image_shape))
    return np.array(feature_shapes(image_shape, config.BACKBONE_STRIDES))


def compose_image_meta(image_id, original_image_shape, image_shape, window, scale, active_class_ids) -> np.ndarray:
    """What is known of one image as one row of numbers.

    Args:
        image_id: a number of the caller's.
        original_image_shape: (H, W, C) before molding.
        image_shape: (H, W, C) of the canvas.
        window: (y1, x1, y2, x2) in pixels of the canvas: where the image lies.
        scale: factor by which the image was resized.
        active_class_ids: (K,) of 0 and 1.

    Returns:
        float64 (12 + K,).
    """
    return np.array([image_id, *original_image_shape, *image_shape, *window, scale, *active_class_ids], np.float64)


def parse_image_meta(meta: np.ndarray) -> dict[str, np.ndarray]:
    """The parts of rows from `compose_image_meta`, (B, 12 + K): int32, but `scale` float32, each with B rows."""
    ends = {"image_id": 0, "original_image_shape": slice(1, 4), "image_shape": slice(4, 7), "window": slice(7, 11)}
    parts = {name: meta[:, columns].astype(np.int32) for name, columns in ends.items()}
    parts["scale"] = meta[:, 11].astype(np.float32)
    parts["active_class_ids"] = meta[:, 12:].astype(np.int32)
    return parts


def mold_image(images: np.ndarray, config) -> np.ndarray:
    """RGB images (..., 3) minus MEAN_PIXEL, as floats."""
    return images.astype(np.float32) - config.MEAN_PIXEL


def unmold_image(normalized_images: np.ndarray, config) -> np.ndarray:
    """The inverse of `mold_image`: uint8 (..., 3), RGB."""
    return (normalized_images + config.MEAN_PIXEL).astype(np.uint8)


class _KerasModel(keras.Model):
    """All layers as one Keras model, for `summary()`, `layers` and `save_weights` in Matterport's layout."""

    def save_weights(self, filepath, overwrite=True):
        """Write the weights to a file in Matterport's layout (.h5); see `mrcnn.weights.save_weights`."""
        if not overwrite and os.path.exists(filepath):
            raise FileExistsError(f"{filepath} exists already, and overwrite is False")
        save_weights(self.network, filepath)

    def load_weights(self, filepath, by_name=True, exclude=None):
        """Read weights from such a file; see `mrcnn.weights.load_weights`."""
        load_weights(self.network, filepath, exclude)


class MaskRCNN:
    """Mask R-CNN as users of Matterport's package know it.

    Attributes:
        mode: "inference".
        config: the Config given.
        model_dir: the folder given, where training puts its runs; inference writes nothing there.
        network: the weights and stages, see `mrcnn.network.network`.
        keras_model: all layers as one Keras model, for `summary()`, `layers`, `save_weights(path)`.
        detector: the compiled network.
    """

    def __init__(self, mode: str, config, model_dir: str | os.PathLike[str] | None):
        """Build the network with random weights.

        Args:
            mode: "inference".
            config: an instance of a subclass of Config.
            model_dir: where training runs are put; may be None.

        Raises:
            ValueError: another mode, or a setting that no network can be built from.
        """
        if mode == "training":
            raise ValueError(
                'mode="training" is not available in this version: MaskRCNN runs inference only (mode="inference")'
            )
        if mode != "inference":
            raise ValueError(f'mode must be "inference" or "training", got {mode!r}')
        if isinstance(config, type):
            raise ValueError(f"config must be an instance, got the class {config.__name__}: write {config.__name__}()")
        config.validate()
        self.mode = mode
        self.config = config
        self.model_dir = model_dir
        self.network = MaskRCNNNetwork(config)
        self.keras_model = _as_keras_model(self.network)
        self.detector = Detector(self.network)

    def load_weights(
        self, filepath: str | os.PathLike[str], by_name: bool = False, exclude: Iterable[str] | None = None
    ) -> None:
        """Load weights that Matterport's `save_weights` or ours wrote, layer by layer and by name.

        Args:
            filepath: the .h5 file, mask_rcnn_coco.h5 for example.
            by_name: kept for scripts that say it; layers are matched by name either way.
            exclude: names of layers that keep the weights they have, such as the heads when NUM_CLASSES is another:
                ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"].

        Raises:
            mrcnn.weights.WeightsError: the file cannot be used, or a layer has no partner or another shape.
        """
        load_weights(self.network, filepath, exclude)

    def find_last(self) -> str:
        """The last checkpoint of the last training run under model_dir.

        Raises:
            FileNotFoundError: there is none.
        """
        prefix = (self.config.NAME or "").lower()
        runs = sorted(
            entry.path for entry in os.scandir(self.model_dir) if entry.is_dir() and entry.name.startswith(prefix)
        )
        if not runs:
            raise FileNotFoundError(f"no training run whose name begins with {prefix!r} under {self.model_dir}")
        files = sorted(entry.path for entry in os.scandir(runs[-1]) if entry.name.startswith("mask_rcnn"))
        if not files:
            raise FileNotFoundError(f"no weight file mask_rcnn_*.h5 in {runs[-1]}")
        return files[-1]

    def get_imagenet_weights(self) -> str:
        """Download a ResNet-50 trained on ImageNet (once, to Keras' cache) and return its path.

        Raises:
            OSError: it cannot be downloaded; the text says where to put the file by hand.
        """
        name = IMAGENET_URL.rsplit("/", 1)[1]
        try:
            return keras.utils.get_file(name, IMAGENET_URL, cache_subdir="models", file_hash=IMAGENET_MD5)
        except Exception as error:  # Keras raises a bare Exception for any network failure
            home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
            folder = os.path.join(home, "models")
            raise OSError(f"cannot download {IMAGENET_URL} ({error}). Put the file into {folder} by hand") from error

    def mold_inputs(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Resize and pad images to canvases as IMAGE_RESIZE_MODE says, and subtract the mean.

        Args:
            images: RGB images (H, W, 3), of any sizes that give canvases of one size.

        Returns:
            molded_images: float64 (B, H, W, 3).
            image_metas: float64 (B, 12 + K), see `compose_image_meta`.
            windows: int (B, 4), pixels of the canvas: where the image lies.

        Raises:
            ValueError: an image of another shape, or canvases of different sizes.
        """
        molded_images, image_metas, windows = [], [], []
        for index, image in enumerate(images):
            _check_image(index, image, int(self.config.IMAGE_SHAPE[2]))
            molded, window, scale, _, _ = utils.resize_image(
                image,
                min_dim=self.config.IMAGE_MIN_DIM,
                min_scale=self.config.IMAGE_MIN_SCALE,
                max_dim=self.config.IMAGE_MAX_DIM,
                mode=self.config.IMAGE_RESIZE_MODE,
            )
            no_classes = np.zeros(self.config.NUM_CLASSES, np.int32)
            molded_images.append(mold_image(molded, self.config))
            image_metas.append(compose_image_meta(0, image.shape, molded.shape, window, scale, no_classes))
            windows.append(window)
        _check_same_shape(molded_images)
        return np.stack(molded_images), np.stack(image_metas), np.stack(windows)

    def unmold_detections(self, detections, mrcnn_mask, original_image_shape, image_shape, window):
        """Bring one image's results from the canvas to the image.

        Args:
            detections: (D, 6), normalized y1, x1, y2, x2, class id, score; zeros after the last.
            mrcnn_mask: (D, 28, 28, K), mask probabilities.
            original_image_shape: (H, W, C) of the image.
            image_shape: (H, W, C) of the canvas.
            window: (y1, x1, y2, x2) in pixels of the canvas: where the image lies.

        Returns:
            boxes int32 (N, 4) pixels, class_ids int32 (N,), scores float32 (N,), masks bool (H, W, N).
        """
        empty_rows = np.flatnonzero(detections[:, 4] == 0)
        count = empty_rows[0] if len(empty_rows) else len(detections)
        class_ids = detections[:count, 4].astype(np.int32)
        raw = RawDetections(
            detections[:count, :4], class_ids, detections[:count, 5], mrcnn_mask[np.arange(count), :, :, class_ids]
        )
        return _unmold(raw, original_image_shape, image_shape, window)

    def detect(self, images: Sequence[np.ndarray], verbose: int = 0) -> list[dict[str, np.ndarray]]:
        """Find the instances in images.

        Args:
            images: BATCH_SIZE (GPU_COUNT * IMAGES_PER_GPU) RGB images (H, W, 3).
            verbose: 1 prints shape, range and dtype of what goes in.

        Returns:
            One dict per image: rois int32 (N, 4) y1, x1, y2, x2 in pixels; class_ids int32 (N,); scores float32 (N,);
            masks bool (H, W, N). Best score first.

        Raises:
            ValueError: another number of images, or an image of another shape.
        """
        self._check_count(images)
        for index, image in enumerate(images):
            _check_image(index, image, int(self.config.IMAGE_SHAPE[2]))
        self._log_inputs(images, verbose)
        molded_images, image_metas, windows = self.mold_inputs(images)
        return self._detect_canvases(molded_images, image_metas, windows, [image.shape for image in images], verbose)

    def detect_molded(
        self, molded_images: np.ndarray, image_metas: np.ndarray, verbose: int = 0
    ) -> list[dict[str, np.ndarray]]:
        """Find the instances on canvases that `mold_inputs` made; results are in pixels of the canvas.

        Args:
            molded_images: float (B, H, W, 3).
            image_metas: float (B, 12 + K).
            verbose: as in `detect`.

        Returns:
            As `detect`.
        """
        self._check_count(molded_images)
        _check_same_shape(molded_images)
        self._log_inputs(molded_images, verbose)
        canvas_windows = np.array([[0, 0, *image.shape[:2]] for image in molded_images])
        shapes = [image.shape for image in molded_images]
        return self._detect_canvases(np.asarray(molded_images), image_metas, canvas_windows, shapes, verbose)

    def get_anchors(self, image_shape: Sequence[int]) -> np.ndarray:
        """Normalized anchors of a canvas of image_shape (H, W, ...): float32 (A, 4). `self.anchors` holds them in
        pixels."""
        height, width = int(image_shape[0]), int(image_shape[1])
        self.anchors = pyramid_anchors(self.network.anchor_settings, height, width)
        return self.network.anchors(height, width)

    def _check_count(self, images) -> None:
        if len(images) != self.config.BATCH_SIZE:
            raise ValueError(
                f"detect takes BATCH_SIZE = GPU_COUNT * IMAGES_PER_GPU = {self.config.BATCH_SIZE} images at a time, "
                f"got {len(images)}. For single images set GPU_COUNT = 1 and IMAGES_PER_GPU = 1 in the Config"
            )

    def _log_inputs(self, images, verbose: int) -> None:
        if verbose:
            log(f"Processing {len(images)} images")
            for image in images:
                log("image", image)

    def _detect_canvases(self, molded_images, image_metas, windows, original_shapes, verbose):
        if verbose:
            anchors = self.get_anchors(molded_images[0].shape)
            log("molded_images", molded_images)
            log("image_metas", image_metas)
            log("anchors", np.broadcast_to(anchors, (len(molded_images), *anchors.shape)))
        found = self.detector.detect_molded(molded_images, parse_image_meta(image_metas)["window"])
        results = []
        for raw, canvas, window, original_shape in zip(found, molded_images, windows, original_shapes, strict=True):
            rois, class_ids, scores, masks = _unmold(raw, original_shape, canvas.shape, window)
            results.append({"rois": rois, "class_ids": class_ids, "scores": scores, "masks": masks})
        return results


def _unmold(raw: RawDetections, original_image_shape, image_shape, window):
    """See `MaskRCNN.unmold_detections`."""
    y1, x1, y2, x2 = utils.norm_boxes(np.asarray(window), image_shape[:2])
    scale = np.array([y2 - y1, x2 - x1, y2 - y1, x2 - x1])
    in_window = np.divide(raw.boxes - np.array([y1, x1, y1, x1]), scale)
    boxes = utils.denorm_boxes(in_window, original_image_shape[:2])
    # Boxes that rounding left empty have no pixel to show.
    keep = np.flatnonzero((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) > 0)
    masks = np.zeros((*original_image_shape[:2], len(keep)), bool)
    for place, index in enumerate(keep):
        masks[:, :, place] = utils.unmold_mask(raw.mask_probs[index], boxes[index], original_image_shape)
    return boxes[keep], raw.class_ids[keep], raw.scores[keep], masks


def _check_image(index: int, image: Any, channels: int) -> None:
    if image is None:
        raise ValueError(
            f"image {index} is None: the file was not read (cv2.imread answers None for a missing or damaged file)"
        )
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != channels or image.size == 0:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image {index} must be an RGB array (H, W, {channels}), got {found}")


def _check_same_shape(images: Sequence[np.ndarray]) -> None:
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise ValueError(
            f"all images of a batch must have one size after resizing, got {shapes}: "
            "use IMAGE_RESIZE_MODE 'square' or images of one size"
        )


def _as_keras_model(network: MaskRCNNNetwork) -> _KerasModel:
    inputs = [model_input for model in network.models for model_input in model.inputs]
    outputs = [model_output for model in network.models for model_output in model.outputs]
    model = _KerasModel(inputs, outputs, name="mask_rcnn")
    model.network = network
    return model
