"""Training: annotated images in, weights out. Nothing of the inference path imports from here."""
