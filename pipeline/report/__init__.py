"""Reports and exports from the detections that runs have written."""
