"""Rebuild everything under results/ that is derived: tables, figures and pages.

Records are the source of truth; this imports no torch and takes seconds.
"""

from collections.abc import Iterable
from pathlib import Path

from joblib import cpu_count

from replication.experiments.large_scale import PROFILE as LARGE_SCALE
from replication.files import write_text
from replication.report.analysis import published as paper
from replication.report.analysis.large_scale import large_scale_records
from replication.report.analysis.profile import Profile, read_profiles
from replication.report.claims.statements import read_evidence, statements
from replication.report.figures import covering as covering_figures
from replication.report.figures import gains, heat_maps, training
from replication.report.figures import large_scale as large_scale_figures
from replication.report.figures import theory as theory_figures
from replication.report.figures.data import class_counts_figure
from replication.report.figures.style import Drawing, draw_all
from replication.report.front_page import TITLES, folder_page, forest_rows, front_page
from replication.report.gpu import write_gpu_page
from replication.report.tables import cifar, evidence
from replication.report.tables import large_scale as large_scale_tables
from replication.report.tables.claims import claims_table, findings_markdown
from replication.report.tables.methods import length_table, methods_table
from replication.report.tables.table import Table, budget

TABLES = (cifar.table2, methods_table, evidence.scale_table, evidence.ablations_table, evidence.bias_table)
THEORY_FIGURES = {
    "figure3_weights": theory_figures.class_balanced_term_figure,
    "figure6_effective_numbers": theory_figures.effective_numbers_figure,
    "class_weights": theory_figures.class_weights_figure,
}


def profile_tables(profile: Profile) -> list[Table]:
    """The tables of a profile that have a row."""
    made = [table(profile) for table in TABLES]
    made += [cifar.heat_map(profile, dataset) for dataset in sorted(set(profile.cells["dataset"]))]
    return [table for table in made if len(table.shown)]


def profile_drawings(results: Path | str, profile: Profile) -> list[Drawing]:
    """The figures of a profile that its records may allow: each data set its own, and the drops of the rate."""
    folder = Path(results) / profile.name / "figures"
    by_set = {
        "curves": training.curves_figure, "betas": training.betas_figure, "class_change": training.class_change_figure,
        "heat_map": heat_maps.measured_heat_map,
    }  # fmt: skip
    sets = sorted(set(profile.cells["dataset"]))
    drawings = [Drawing(folder, f"{name}_{d}", draw, (profile, d)) for d in sets for name, draw in by_set.items()]
    return [*drawings, Drawing(folder, "drop", training.drop_figure, (profile,)),
            Drawing(folder, "methods", gains.methods_figure, (profile,))]  # fmt: skip


def published_drawings(results: Path | str) -> list[Drawing]:
    """The figures of the printed numbers alone, under RESULTS/published."""
    folder = Path(results) / "published" / "figures"
    maps = [Drawing(folder, f"figure{n}", heat_maps.published_heat_map, (d,)) for d, n in paper.FIGURES.items()]
    return [Drawing(folder, "figure4", class_counts_figure), Drawing(folder, "figure5", training.figure5), *maps]


def common_drawings(results: Path | str) -> list[Drawing]:
    """The figures of print, theory, losses, covering and large scale, which no profile's records change."""
    results = Path(results)
    folder = results / "theory" / "figures"
    drawings = [Drawing(folder, name, draw) for name, draw in THEORY_FIGURES.items()]
    if all((results / "covering" / f"{name}.csv").is_file() for name in covering_figures.TABLES):
        drawings += covering_figures.drawings(results / "covering")
    folder = results / LARGE_SCALE / "figures"
    drawings += [
        Drawing(folder, "figure7", large_scale_figures.figure7, (large_scale_records(results),)),
        Drawing(folder, "inaturalist_counts", large_scale_figures.counts_figure),
    ]
    return [*published_drawings(results), *drawings]


def rebuild(results: Path | str = "results", figures: bool = True) -> list[Path]:
    """Write everything that is derived from RESULTS/<profile>/runs; return the paths of all derived files.

    That is tables and figures of every profile that has records, those of the printed numbers, of theory, losses and
    covering, a page for each folder and RESULTS/README.md, in which the smoke profile never appears.  Each profile's
    records are read once, so that a run which ends meanwhile is in all of them or in none.

    figures: False leaves the figures as they are and links those that are there.

    >>> paths = rebuild("results")  # doctest: +SKIP
    """
    results = Path(results)
    profiles = read_profiles(results)
    shown = {name: profile for name, profile in profiles.items() if name != "smoke"}
    seen = read_evidence(results, shown)
    large = large_scale_records(results)
    tables = {name: profile_tables(profile) for name, profile in profiles.items() if name != "length"}
    tables |= {"length": [length_table(profiles)]} if "length" in profiles else {}
    tables |= {"published": [evidence.improvements_table(), evidence.published_bias_table()]}
    tables |= {LARGE_SCALE: large_scale_tables.tables(large), "statements": [claims_table(statements(seen))]}
    drawings = [Drawing(results / "figures", "forest", gains.forest_figure, (forest_rows(shown),))]
    for name, profile in profiles.items():
        drawings += profile_drawings(results, profile) if name != "length" else []  # the profile mixes two budgets
    drawings += common_drawings(results)
    written = draw_all(drawings, min(4, cpu_count())) if figures else _there(drawings)
    for name, made in tables.items():
        written += [path for table in made for path in table.write(results / name / "tables")]
    written += sorted((results / "covering").glob("*.csv"))
    texts = {name: budget(profile) for name, profile in profiles.items()}
    titles = TITLES | {name: f"{p.title.capitalize()} ({p.budget})" for name, p in profiles.items()}
    for name in [*tables, "theory", "covering"]:
        made = [table for table in tables.get(name, []) if not table.name.startswith("heat_map")]  # those are linked
        page = folder_page(results, name, titles[name], made, texts.get(name, ""), written)
        page += findings_markdown(statements(seen)) if name == "statements" else ""
        written.append(write_text(results / name / "README.md", page))
    if "paper" in profiles:
        written += write_gpu_page(results, profiles["paper"].records)
    linked = [path for path in written if path.relative_to(results).parts[0] != "smoke"]
    return [*written, write_text(results / "README.md", front_page(results, shown, seen, linked))]


def _there(drawings: Iterable[Drawing]) -> list[Path]:
    files = [drawing.folder / f"{drawing.name}.{ending}" for drawing in drawings for ending in ("png", "pdf")]
    return [path for path in files if path.is_file()]
