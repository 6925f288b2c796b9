"""Training: the networks, the schedule, runs and sweeps (Sections 5.2 to 5.4)."""
