"""COCO annotations and average precision: what training, evaluation and benchmarks share."""
