"""Weight files: Matterport's .h5 layout, metadata, download, caches."""
