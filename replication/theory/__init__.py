"""Effective number of samples and the random covering behind it (Section 3). NumPy only."""
