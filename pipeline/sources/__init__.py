"""Sources of frames: files, cameras, network streams, images, test patterns."""
