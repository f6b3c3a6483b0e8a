"""The class `MaskRCNN` with the methods and results of Matterport's.

Shape letters: B images per batch (BATCH_SIZE); H, W pixels of an image or of its canvas; N instances; K classes
including the background; A anchors. Boxes are (y1, x1, y2, x2); y2 and x2 of a pixel box are exclusive.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from mrcnn.engines.base import RawDetections
from mrcnn.engines.keras_engine import KerasEngine
from mrcnn.matterport import run_folders as runs
from mrcnn.matterport.image_checks import check_image, check_same_shape
from mrcnn.matterport.keras_model import as_keras_model
from mrcnn.matterport.molding import compose_image_meta, mold_image, parse_image_meta, resize_image, unmold_detections
from mrcnn.network.anchors import feature_shapes, pyramid_anchors
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.weights.load_save import load_weights

IMAGENET_URL = (
    "https://github.com/fchollet/deep-learning-models/releases/download/v0.2/"
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
IMAGENET_MD5 = "a268eb855778b3df3c7506639542a6af"


def log(text: str, array: np.ndarray | None = None) -> None:
    """Print a line; for an array, include its shape, minimum, maximum and dtype."""
    if array is not None:
        low, high = (f"{array.min():10.5f}", f"{array.max():10.5f}") if array.size else (" " * 10, " " * 10)
        text = f"{text:25}shape: {array.shape!s:20}  min: {low}  max: {high}  {array.dtype}"
    print(text)


def compute_backbone_shapes(config, image_shape: Sequence[int]) -> np.ndarray:
    """Rows and columns of each pyramid level for a canvas of image_shape (H, W, ...): int (5, 2)."""
    if callable(config.BACKBONE) and config.COMPUTE_BACKBONE_SHAPE is not None:
        return np.asarray(config.COMPUTE_BACKBONE_SHAPE(image_shape))
    return np.array(feature_shapes(image_shape, config.BACKBONE_STRIDES))


class MaskRCNN:
    """Mask R-CNN with the interface of Matterport's class of the same name.

    Attributes:
        mode: "inference" or "training".
        config: the settings.
        model_dir: parent folder of training runs; inference writes nothing there.
        network: weights and stages, see `mrcnn.network.network`.
        keras_model: all layers as one Keras model, for `summary()`, `layers`, `save_weights(path)`.
        engine: the compiled network; None in training mode.
        epoch: number of completed training epochs.
        log_dir: folder of this training run, created when training starts; None without a model_dir.
        checkpoint_path: path template of its weight files with {epoch:04d}; None without a model_dir.
    """

    def __init__(self, mode: str, config, model_dir: str | os.PathLike[str] | None):
        """Build the network with random weights.

        Args:
            mode: "inference" or "training".
            config: an instance of a subclass of Config.
            model_dir: parent folder of training runs; may be None for inference.

        Raises:
            ValueError: unknown mode, or settings that the network cannot be built or trained with.
        """
        if mode not in ("inference", "training"):
            raise ValueError(f'mode must be "inference" or "training", got {mode!r}')
        if isinstance(config, type):
            raise ValueError(f"config must be an instance, got the class {config.__name__}: write {config.__name__}()")
        config.validate()
        if mode == "training":
            from mrcnn.matterport.epochs import check_config

            check_config(config)
            if model_dir is None:
                raise ValueError('mode="training" needs a model_dir, the parent folder of training runs')
        self.mode = mode
        self.config = config
        self.model_dir = model_dir
        self.network = MaskRCNNNetwork(config)
        self.keras_model = as_keras_model(self.network)
        self.engine = KerasEngine(self.network) if mode == "inference" else None
        self.set_log_dir()

    def load_weights(
        self, filepath: str | os.PathLike[str], by_name: bool = False, exclude: Iterable[str] | None = None
    ) -> None:
        """Load the layers of a weight file written by Matterport's `save_weights` or by this package, by name.

        Loading a checkpoint of a training run, such as logs/shapes20261123T1205/mask_rcnn_shapes_0007.h5, also sets
        `epoch`, `log_dir` and `checkpoint_path` so that `train` resumes that run. In training mode, a file with only
        the backbone (`get_imagenet_weights`) initializes the backbone.

        Args:
            filepath: the .h5 file, for example mask_rcnn_coco.h5.
            by_name: ignored; layers are always matched by name.
            exclude: names of layers that keep their current weights, such as the heads when NUM_CLASSES differs:
                ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"].

        Raises:
            mrcnn.weights.checkpoint.WeightsError: the file is unusable, or its layers do not match the network's.
        """
        load_weights(self.network, filepath, exclude, backbone_only=None if self.mode == "training" else False)
        self.set_log_dir(filepath)

    def set_log_dir(self, model_path: str | os.PathLike[str] | None = None) -> None:
        """Set `epoch`, `log_dir` and `checkpoint_path`; writes nothing.

        Args:
            model_path: a checkpoint of a run, NAMEyyyymmddThhmm/mask_rcnn_NAME_0007.h5: resume that run after its
                epoch 7, in the folder of that name under model_dir. Any other path, or None: start a new run.
        """
        stamp, self.epoch = runs.position(model_path)
        self.log_dir = self.checkpoint_path = None
        if self.model_dir is not None:
            self.log_dir, self.checkpoint_path = runs.paths(self.model_dir, self.config.NAME, stamp)

    def train(
        self,
        train_dataset,
        val_dataset,
        learning_rate: float,
        epochs: int,
        layers: str,
        augmentation: Any = None,
        custom_callbacks: Sequence[keras.callbacks.Callback] | None = None,
        no_augmentation_sources: Sequence[str] | None = None,
    ) -> keras.callbacks.History:
        """Train, and write a weight file to `log_dir` after each epoch of STEPS_PER_EPOCH batches.

        Args:
            train_dataset: a prepared `utils.Dataset` that overrides `load_mask`.
            val_dataset: a prepared `utils.Dataset` for the val_… losses; may be None if VALIDATION_STEPS is 0.
            learning_rate: constant learning rate of SGD with LEARNING_MOMENTUM.
            epochs: total number of epochs, including completed ones (`epoch`): a second call resumes after the first.
            layers: "heads" (all but the backbone), "3+", "4+", "5+" (the heads and the backbone from that stage on),
                "all", or a regular expression that matches whole layer names.
            augmentation: a function of (image uint8 (H, W, 3), masks bool (H, W, N)) that applies the same geometric
                change to both and returns them in the same shapes; or an imgaug augmenter.
            custom_callbacks: Keras callbacks; their `model` saves weights in Matterport's layout.
            no_augmentation_sources: names of sources whose images are not augmented.

        Returns:
            The losses by epoch, as keras.Model.fit returns them.

        Raises:
            ValueError: an invalid argument, data set or image, or mode is not "training".
            FloatingPointError: the loss is NaN or infinite.
            OSError: a weight file cannot be written; those of earlier epochs are untouched.
        """
        from mrcnn.matterport import epochs as loop
        from mrcnn.matterport.dataset_batches import DatasetBatches
        from mrcnn.training.training_model import layer_pattern

        if self.mode != "training":
            raise ValueError('train needs a model with mode="training", this one has mode="inference"')
        loop.check_config(self.config)
        loop.check_schedule(learning_rate, epochs, self.epoch)
        loop.check_dataset(train_dataset, self.config, "train_dataset")
        if self.config.VALIDATION_STEPS > 0:
            loop.check_dataset(val_dataset, self.config, "val_dataset")
        self.set_trainable(layer_pattern(layers, self.config.BACKBONE), verbose=0)
        model = self.compile(learning_rate, self.config.LEARNING_MOMENTUM)
        model.metadata = self.keras_model.metadata = loop.run_metadata(self.config, train_dataset)
        count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, _logs: setattr(self, "epoch", epoch + 1))
        own = loop.file_callbacks(self.log_dir, self.checkpoint_path)
        seed = int(np.random.randint(2**31))  # noqa: NPY002  keras.utils.set_random_seed makes a run repeatable
        batches = DatasetBatches(train_dataset, self.config, augmentation, no_augmentation_sources, seed)
        log(f"\nStarting at epoch {self.epoch}. LR={learning_rate}\n")
        log(f"Checkpoint Path: {self.checkpoint_path}")
        callbacks = [*(custom_callbacks or ()), count, *own]
        self.keras_model.history = loop.run_epochs(model, batches, val_dataset, callbacks, range(self.epoch, epochs))
        return self.keras_model.history

    def compile(self, learning_rate: float, momentum: float):
        """Return the network as a keras.Model with losses and a new optimizer for the currently trainable layers.

        `train` calls this itself. See `mrcnn.matterport.epochs.make_model`.
        """
        from mrcnn.matterport.epochs import make_model

        return make_model(self.network, learning_rate, momentum)

    def set_trainable(self, layer_regex: str, keras_model=None, indent: int = 0, verbose: int = 1) -> None:
        """Make exactly the layers trainable whose whole name matches.

        Args:
            layer_regex: a regular expression.
            keras_model, indent: ignored; kept for the original's signature.
            verbose: 1 prints the names of the layers.

        Raises:
            ValueError: no layer matches.
        """
        from mrcnn.training.training_model import set_trainable

        for layer in set_trainable(self.network, layer_regex):
            if verbose:
                log(f"{' ' * indent}{layer.name:20}   ({type(layer).__name__})")

    def find_trainable_layer(self, layer):
        """The innermost layer of a chain of wrapper layers."""
        return self.find_trainable_layer(layer.layer) if hasattr(layer, "layer") else layer

    def get_trainable_layers(self) -> list[keras.Layer]:
        """All layers that have weights, whether or not `set_trainable` selected them."""
        return list(self.network.layers_by_name().values())

    def find_last(self) -> str:
        """Path of the newest checkpoint of the newest training run under model_dir.

        Raises:
            FileNotFoundError: no run or no checkpoint exists.
        """
        return runs.find_last(self.model_dir, self.config.NAME)

    def get_imagenet_weights(self) -> str:
        """Download ResNet-50 weights trained on ImageNet (once, to Keras' cache) and return the file's path.

        Raises:
            OSError: the download failed; the message says where to put the file manually.
        """
        name = IMAGENET_URL.rsplit("/", 1)[1]
        try:
            return keras.utils.get_file(name, IMAGENET_URL, cache_subdir="models", file_hash=IMAGENET_MD5)
        except Exception as error:  # Keras raises a bare Exception for any network failure
            home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
            folder = os.path.join(home, "models")
            raise OSError(f"cannot download {IMAGENET_URL} ({error}). Put the file into {folder} manually") from error

    def mold_inputs(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Resize and pad images to canvases according to IMAGE_RESIZE_MODE, and subtract the mean.

        Args:
            images: RGB images (H, W, 3) whose canvases have the same size.

        Returns:
            molded_images: float64 (B, H, W, 3).
            image_metas: float64 (B, 12 + K), see `compose_image_meta`.
            windows: int (B, 4), (y1, x1, y2, x2) in canvas pixels: the part of each canvas that the image covers.

        Raises:
            ValueError: an image is not (H, W, 3), or the canvases differ in size.
        """
        molded_images, image_metas, windows = [], [], []
        for index, image in enumerate(images):
            check_image(index, image, int(self.config.IMAGE_SHAPE[2]))
            molded, window, scale, _, _ = resize_image(
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
        check_same_shape(molded_images)
        return np.stack(molded_images), np.stack(image_metas), np.stack(windows)

    def unmold_detections(self, detections, mrcnn_mask, original_image_shape, image_shape, window):
        """Transform one image's results from canvas to image coordinates.

        Args:
            detections: (D, 6), normalized y1, x1, y2, x2, class id, score; zero-padded.
            mrcnn_mask: (D, 28, 28, K), mask probabilities.
            original_image_shape: (H, W, C) of the image.
            image_shape: (H, W, C) of the canvas.
            window: (y1, x1, y2, x2) in canvas pixels: the part of the canvas that the image covers.

        Returns:
            boxes int32 (N, 4) pixels, class_ids int32 (N,), scores float32 (N,), masks bool (H, W, N).
        """
        empty_rows = np.flatnonzero(detections[:, 4] == 0)
        count = empty_rows[0] if len(empty_rows) else len(detections)
        class_ids = detections[:count, 4].astype(np.int32)
        raw = RawDetections(
            detections[:count, :4], class_ids, detections[:count, 5], mrcnn_mask[np.arange(count), :, :, class_ids]
        )
        return unmold_detections(raw, original_image_shape, image_shape, window)

    def detect(self, images: Sequence[np.ndarray], verbose: int = 0) -> list[dict[str, np.ndarray]]:
        """Detect the instances in images.

        Args:
            images: BATCH_SIZE (GPU_COUNT * IMAGES_PER_GPU) RGB images (H, W, 3), uint8, or of another dtype with
                values from 0 to 255.
            verbose: 1 prints shape, range and dtype of the inputs.

        Returns:
            One dict per image: rois int32 (N, 4) y1, x1, y2, x2 in pixels; class_ids int32 (N,); scores float32 (N,);
            masks bool (H, W, N). Highest score first.

        Raises:
            ValueError: the number of images is not BATCH_SIZE, or an image is not (H, W, 3) with values from 0 to 255,
                or its shorter side is one pixel after resizing.
        """
        self._check_count(images)
        molded_images, image_metas, windows = self.mold_inputs(images)
        for index, (image, (y1, x1, y2, x2)) in enumerate(zip(images, windows, strict=True)):
            if min(y2 - y1, x2 - x1) < 2:  # normalized, it has no extent
                raise ValueError(
                    f"image {index} of (height, width) = {image.shape[:2]} is too narrow: resized for the network, its "
                    "shorter side is one pixel. Cut it into shorter pieces"
                )
        self._log(images, molded_images, image_metas, verbose)
        return self._detect_canvases(molded_images, image_metas, windows, [image.shape for image in images])

    def detect_molded(
        self, molded_images: np.ndarray, image_metas: np.ndarray, verbose: int = 0
    ) -> list[dict[str, np.ndarray]]:
        """Detect the instances on canvases from `mold_inputs`; results are in canvas pixels.

        Args:
            molded_images: float (B, H, W, 3).
            image_metas: float (B, 12 + K).
            verbose: as in `detect`.

        Returns:
            As `detect`.
        """
        self._check_count(molded_images)
        check_same_shape(molded_images)
        molded_images = np.asarray(molded_images)
        self._log(molded_images, molded_images, image_metas, verbose)
        shape = molded_images.shape[1:]
        windows = np.array([[0, 0, *shape[:2]]] * len(molded_images))
        return self._detect_canvases(molded_images, image_metas, windows, [shape] * len(molded_images))

    def get_anchors(self, image_shape: Sequence[int]) -> np.ndarray:
        """Normalized anchors of a canvas of image_shape (H, W, ...): float32 (A, 4); sets `self.anchors`, in pixels."""
        height, width = int(image_shape[0]), int(image_shape[1])
        self.anchors = pyramid_anchors(self.network.anchor_settings, height, width)
        return self.network.anchors(height, width)

    def _check_count(self, images) -> None:
        if self.mode != "inference":
            raise ValueError('detect needs a model with mode="inference", this one has mode="training"')
        if len(images) != self.config.BATCH_SIZE:
            raise ValueError(
                f"detect takes BATCH_SIZE = GPU_COUNT * IMAGES_PER_GPU = {self.config.BATCH_SIZE} images at a time, "
                f"got {len(images)}. For single images set GPU_COUNT = 1 and IMAGES_PER_GPU = 1 in the Config"
            )

    def _log(self, images, molded_images, image_metas, verbose: int) -> None:
        if verbose:
            log(f"Processing {len(images)} images")
            for image in images:
                log("image", image)
            anchors = self.get_anchors(molded_images[0].shape)
            log("molded_images", molded_images)
            log("image_metas", image_metas)
            log("anchors", np.broadcast_to(anchors, (len(molded_images), *anchors.shape)))

    def _detect_canvases(self, molded_images, image_metas, windows, original_shapes):
        found = self.engine.detect_molded(molded_images, parse_image_meta(image_metas)["window"])
        names = ("rois", "class_ids", "scores", "masks")
        return [
            dict(zip(names, unmold_detections(raw, shape, canvas.shape, window), strict=True))
            for raw, canvas, window, shape in zip(found, molded_images, windows, original_shapes, strict=True)
        ]
