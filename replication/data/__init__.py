"""Long-tailed data sets: which images a seed keeps, where they come from, how they are augmented (Section 5.1)."""
