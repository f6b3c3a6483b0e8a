"""How good a segmenter is on annotated images: COCO's average precision, through the code that segments video."""
