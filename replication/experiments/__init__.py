"""Experiments, grids and records: what is run and what a run writes. Imports without torch."""
