"""Rebuild everything under results/ that is derived: tables, figures, verdicts and the front page.

Records are the source of truth; this imports no torch and takes seconds.
"""

from pathlib import Path

import pandas as pd
from joblib import cpu_count

from replication.files import write_text
from replication.report.analysis import published as paper
from replication.report.analysis.comparison import datasets
from replication.report.analysis.large_scale import large_scale_records
from replication.report.analysis.measured import profile_records, profiles_with_records
from replication.report.claims import registry as claims
from replication.report.claims.evidence import evidence
from replication.report.figures import covering as covering_figures
from replication.report.figures import heat_maps
from replication.report.figures import large_scale as large_scale_figures
from replication.report.figures import theory as loss_figures
from replication.report.figures import theory as theory_figures
from replication.report.figures import training as training_figures
from replication.report.figures.data import class_counts_figure
from replication.report.figures.style import Drawing, draw_all
from replication.report.front_page import front_page
from replication.report.tables import cifar as tables
from replication.report.tables import evidence as evidence_tables
from replication.report.tables import large_scale as large_scale_tables
from replication.report.tables.claims import claims_table
from replication.report.tables.large_scale import PROFILE, weights_table
from replication.report.tables.table import budget


def write_tables(results: Path | str) -> list[Path]:
    """Write RESULTS/large-scale/tables/* from its records; the paths."""
    records = large_scale_records(results)
    made = [large_scale_tables.table3(records), large_scale_tables.cost_table(records), weights_table()]
    made += [large_scale_tables.runs_table(records)] if len(records) else []
    return [path for table in made for path in table.write(Path(results) / PROFILE / "tables")]


TABLES = (tables.table1, tables.table2, evidence_tables.paired_table, evidence_tables.luck_table,
          evidence_tables.controls_table, evidence_tables.parts_table, evidence_tables.per_class_table)  # fmt: skip
FIGURES = {
    "figure5": training_figures.figure5,
    "curves": training_figures.curves_figure,
    "drop": training_figures.drop_figure,
    "per_class": training_figures.per_class_figure,
}
THEORY_FIGURES = {
    "figure3_weights": theory_figures.class_balanced_term_figure,
    "figure6_effective_numbers": theory_figures.effective_numbers_figure,
    "class_weights": loss_figures.class_weights_figure,
}


def verdicts(results: Path | str, profile: str, records: pd.DataFrame | None = None) -> tuple[pd.DataFrame, list[Path]]:
    """Judge every claim and write RESULTS/PROFILE/tables/claims.{md,csv,tex}; the verdicts and the paths."""
    seen = evidence(results, profile, records)
    judged = claims.judge(seen)
    table = claims_table(judged, profile, budget(seen.records, profile))
    return judged, table.write(Path(results) / profile / "tables")


def profile_tables(results: Path | str, profile: str, records: pd.DataFrame | None = None) -> list[Path]:
    """Write all tables of a profile, the verdicts aside; the paths."""
    records = profile_records(results, profile) if records is None else records
    folder = Path(results) / profile / "tables"
    made = [table(records, profile) for table in TABLES]
    made += [tables.heat_map(records, profile, dataset) for dataset in datasets(records, ("cifar10",))]
    return [path for table in made for path in table.write(folder)]


def profile_drawings(results: Path | str, profile: str, records: pd.DataFrame | None = None) -> list[Drawing]:
    """The figures of a profile that its records may allow."""
    records = profile_records(results, profile) if records is None else records
    folder = Path(results) / profile / "figures"
    sets = datasets(records, ())
    main = "cifar10" if "cifar10" in sets or not sets else sets[0]
    drawings = [Drawing(folder, name, draw, (records, profile)) for name, draw in FIGURES.items()]
    drawings += [Drawing(folder, f"heat_map_{d}", heat_maps.heat_map_figure, (records, d, profile)) for d in sets]
    return [*drawings, Drawing(folder, "gain", training_figures.gain_figure, (records, profile, main))]


def published_drawings(results: Path | str) -> list[Drawing]:
    """The figures of the printed numbers alone, under RESULTS/published."""
    folder = Path(results) / "published" / "figures"
    maps = [Drawing(folder, f"figure{n}", heat_maps.heat_map_figure, (None, d)) for d, n in paper.FIGURES.items()]
    rest = {"figure4": (class_counts_figure, ()), "figure5": (training_figures.figure5, (None,)),
            "gain": (training_figures.gain_figure, (None,))}  # fmt: skip
    return maps + [Drawing(folder, name, *job) for name, job in rest.items()]


def published_tables(results: Path | str) -> list[Path]:
    """The tables of the printed numbers alone, under RESULTS/published."""
    made = [evidence_tables.improvements_table(), evidence_tables.published_luck_table()]
    return [path for table in made for path in table.write(Path(results) / "published" / "tables")]


def common_drawings(results: Path | str) -> list[Drawing]:
    """The figures of theory, losses, covering and large scale, which no profile's records change."""
    results = Path(results)
    folder = results / "theory" / "figures"
    drawings = [Drawing(folder, name, draw) for name, draw in THEORY_FIGURES.items()]
    if all((results / "covering" / f"{name}.csv").is_file() for name in covering_figures.TABLES):
        drawings += covering_figures.drawings(results / "covering")
    return drawings + large_scale_figures.drawings(results)


def rebuild(results: Path | str = "results", figures: bool = True) -> list[Path]:
    """Write what is derived from RESULTS/<profile>/runs; returns the paths of what is there in the end.

    That is tables, verdicts and figures of every profile that has records, those of the printed numbers, of theory,
    losses and covering, and RESULTS/README.md, in which the smoke profile never appears.  Each profile's records are
    read once, so that a run which ends meanwhile is in all of them or in none.

    figures: False leaves the figures as they are and links those that are there.

    >>> paths = rebuild("results")  # doctest: +SKIP
    """
    results = Path(results)
    records = {name: profile_records(results, name) for name in profiles_with_records(results)}
    measured = list(records)
    shown = [name for name in measured if name != "smoke"]
    paths, drawings, judged = published_tables(results), published_drawings(results), {}
    for name in dict.fromkeys([*measured, *(shown or ["cpu"])]):  # without records: verdicts from theory and print
        judged[name], made = verdicts(results, name, records.get(name))
        paths += made
    for name in measured:
        paths += profile_tables(results, name, records[name])
        drawings += profile_drawings(results, name, records[name])
    drawings += common_drawings(results)
    drawn = draw_all(drawings, min(4, cpu_count())) if figures else _there(drawings)
    paths += write_tables(results)
    paths += drawn + sorted((results / "covering").glob("*.csv"))
    linked = [path for path in paths if path.relative_to(results).parts[0] != "smoke"]
    by_profile = {name: judged[name] for name in shown or ["cpu"]}
    page = front_page(results, {name: records[name] for name in shown}, by_profile, linked)
    return [*paths, write_text(results / "README.md", page)]


def _there(drawings: list[Drawing]) -> list[Path]:
    files = [drawing.folder / f"{drawing.name}.{ending}" for drawing in drawings for ending in ("png", "pdf")]
    return [path for path in files if path.is_file()]
