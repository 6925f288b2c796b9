"""Long-tailed data sets: their sources, the images that a seed keeps, and their augmentation (Section 5.1)."""
