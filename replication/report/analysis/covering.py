"""The tables of the covering simulations, RESULTS/covering/*.csv."""

TABLES = ("verify", "departures", "near_duplicates", "random_crops", "wholly_inside")
