"""From cards and files to batches: manifest, splits, images, augmentation, loader."""
