"""What is run and what a run leaves: experiments, grids and records, without torch."""
