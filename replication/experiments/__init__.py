"""Experiments, grids, records and the covering simulations: what is run and what it writes. Imports without torch."""
