"""The evidence that the rules read: published numbers, covering tables, records."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis.covering import TABLES
from replication.report.analysis.large_scale import large_scale_records
from replication.report.analysis.measured import profile_records
from replication.theory.effective_number import class_balanced_weights, effective_number


@dataclass(frozen=True)
class Evidence:
    """All that a rule may look at.  Tests replace one field by evidence that flips the rule."""

    heat_maps: pd.DataFrame = field(default_factory=paper.heat_maps)
    table2: pd.DataFrame = field(default_factory=paper.table2)
    table3: pd.DataFrame = field(default_factory=paper.table3)
    records: pd.DataFrame | None = None  # of one profile, with labels
    large_scale: pd.DataFrame | None = None  # of large_scale_tables.large_scale_records
    verify: pd.DataFrame | None = None  # results/covering/verify.csv
    departures: pd.DataFrame | None = None  # results/covering/departures.csv
    near_duplicates: pd.DataFrame | None = None  # results/covering/near_duplicates.csv
    random_crops: pd.DataFrame | None = None  # results/covering/random_crops.csv
    effective_number: Callable = effective_number
    class_balanced_weights: Callable = class_balanced_weights


def evidence(results: Path | str, profile: str, records: pd.DataFrame | None = None) -> Evidence:
    """What the claims are judged on: the records of `profile`, and the covering's tables (its own, else the common).

    Here and below, `records` are those of the profile where they have been read already.
    """
    results = Path(results)
    found = {}
    for name in TABLES:
        paths = [results / folder / f"{name}.csv" for folder in (f"{profile}/covering", "covering")]
        path = next((path for path in paths if path.exists()), None)
        found[name] = path and pd.read_csv(path, dtype={"class_name": str}, keep_default_na=False, na_values=[""])
    records = profile_records(results, profile) if records is None else records
    return Evidence(records=records, large_scale=large_scale_records(results), **found)
