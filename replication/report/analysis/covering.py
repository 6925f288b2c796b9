"""The tables of the covering simulations, RESULTS/covering/*.csv."""

from pathlib import Path

import pandas as pd

TABLES = ("verify", "departures", "near_duplicates", "random_crops", "wholly_inside")


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the tables that are in a folder, by name; the name of a class is text, even if it is "nan" or a digit."""
    paths = {name: folder / f"{name}.csv" for name in TABLES}
    text: dict = dict(dtype={"class_name": str}, keep_default_na=False, na_values=[""])
    return {name: pd.read_csv(path, **text) for name, path in paths.items() if path.is_file()}
