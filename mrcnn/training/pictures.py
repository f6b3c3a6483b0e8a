"""The photographs of a run: kept in memory as far as they fit, and left out when one cannot be read any more."""

from __future__ import annotations

import logging
from collections import OrderedDict

import numpy as np

from mrcnn.training.annotated_images import AnnotatedImage, AnnotatedImages
from mrcnn.training.augment import AugmentSettings, Window
from mrcnn.training.data import WindowMaker, read_picture

logger = logging.getLogger(__name__)

MEMORY_BYTES = 2 * 1024**3
"""So much is kept decoded; beyond it, the photographs that were used longest ago are read again."""

MOST_TRIES = 1000
"""A window is tried with so many other photographs before it is said that none can be read."""

NEXT_TRY = 2**40
"""Added to a window's number for another try: no run has so many windows."""


class PictureError(ValueError):
    """A photograph that was there at the start cannot be read any more."""


class PictureStore:
    """Decoded photographs within a limit of memory.

    Attributes:
        unreadable: the paths that could not be read, with the reason.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES):
        """Start empty."""
        self._memory_bytes = memory_bytes
        self._held: OrderedDict[str, np.ndarray] = OrderedDict()
        self._used_bytes = 0
        self.unreadable: dict[str, str] = {}

    def get(self, image: AnnotatedImage) -> np.ndarray:
        """The photograph: uint8 (H, W, 3), RGB.

        Raises:
            PictureError: it cannot be read; the first time, a warning names it.
        """
        key = str(image.path)
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        if key in self.unreadable:
            raise PictureError(self.unreadable[key])
        try:
            picture = read_picture(image)
        except ValueError as error:
            self.unreadable[key] = str(error)
            logger.warning("%s: it is left out from here on (%d so far)", error, len(self.unreadable))
            raise PictureError(str(error)) from None
        self._keep(key, picture)
        return picture

    def _keep(self, key: str, picture: np.ndarray) -> None:
        self._held[key] = picture
        self._used_bytes += picture.nbytes
        while self._used_bytes > self._memory_bytes and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._used_bytes -= dropped.nbytes


class PatientWindowMaker(WindowMaker):
    """Makes windows as `WindowMaker` does, and takes another photograph where one cannot be read."""

    def __init__(self, data: AnnotatedImages, augment: AugmentSettings, seed: int, store: PictureStore | None = None):
        """See `WindowMaker`; `store` may be shared with others."""
        super().__init__(data, augment, seed)
        self._store = store if store is not None else PictureStore()
        self._all = data.images

    def make(self, number: int) -> Window:
        """Window `number`; the same n gives the same window as long as the same files can be read.

        Raises:
            PictureError: hardly any photograph can be read.
        """
        for attempt in range(MOST_TRIES):
            try:
                return super().make(number + attempt * NEXT_TRY)
            except PictureError:
                continue
        raise PictureError(f"of {len(self._all)} photographs, {len(self._store.unreadable)} cannot be read any more")

    def _picture(self, index: int) -> np.ndarray:
        return self._store.get(self._all[index])
