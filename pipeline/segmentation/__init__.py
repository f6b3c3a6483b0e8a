"""Finding instances in frames: Mask R-CNN, its engines, and their supervision."""
