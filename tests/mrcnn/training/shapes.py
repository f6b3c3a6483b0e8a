"""A data set of drawn discs and crosses, as scripts for Matterport's package define one."""

from __future__ import annotations

import cv2
import numpy as np

from mrcnn.utils import Dataset

SIZES_HW = ((96, 128), (110, 90), (128, 128))
DISC, CROSS = 1, 2


class Shapes(Dataset):
    """Image i has i % 3 + 1 objects; the same pixels each time."""

    def fill(self, count: int = 3) -> Shapes:
        """Add the classes and `count` images, and prepare."""
        self.add_class("shapes", DISC, "disc")
        self.add_class("shapes", CROSS, "cross")
        for number in range(count):
            self.add_image("shapes", number, None)
        self.prepare()
        return self

    def load_image(self, image_id):
        """uint8 (H, W, 3)."""
        return draw(image_id)[0]

    def load_mask(self, image_id):
        """Masks bool (H, W, N) and class ids int32 (N,)."""
        return draw(image_id)[1:]


def draw(number: int):
    """Image uint8 (H, W, 3), masks bool (H, W, N), class ids int32 (N,)."""
    height, width = SIZES_HW[number % 3]
    blocks = np.random.default_rng(number).integers(0, 128, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    image = np.ascontiguousarray(blocks.repeat(8, 0).repeat(8, 1)[:height, :width])
    masks, class_ids = [], []
    for index in range(number % 3 + 1):
        mask = np.zeros((height, width), np.uint8)
        x, y = 20 + index * 35, 30 + index * 25
        if (number + index) % 2:
            class_ids.append(DISC)
            cv2.circle(mask, (x, y), 14, 1, -1)
        else:
            class_ids.append(CROSS)
            cv2.rectangle(mask, (x - 16, y - 5), (x + 16, y + 5), 1, -1)
            cv2.rectangle(mask, (x - 5, y - 20), (x + 5, y + 20), 1, -1)
        image[mask > 0] = (230, 200, 40) if class_ids[-1] == DISC else (40, 230, 220)
        masks.append(mask > 0)
    return image, np.stack(masks, axis=-1), np.array(class_ids, np.int32)
