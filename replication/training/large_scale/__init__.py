"""The large-scale protocol (Section 5.4): the networks, one run of it, and its processes."""
