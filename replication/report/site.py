"""Rebuild everything under results/ that is derived: tables, figures and pages.

Records are the source of truth; this imports no torch and takes seconds.
"""

import re
from functools import partial
from pathlib import Path

from joblib import cpu_count

from replication.experiments.large_scale import PROFILE as LARGE_SCALE
from replication.files import write_text
from replication.report.analysis import published as paper
from replication.report.analysis.large_scale import large_scale_records
from replication.report.analysis.profile import Profile, read_profiles
from replication.report.claims.statements import Evidence, read_evidence, statements
from replication.report.figures import covering as covering_figures
from replication.report.figures import gains, heat_maps, theory, training
from replication.report.figures.data import class_counts_figure
from replication.report.figures.style import Drawings, draw_all
from replication.report.front_page import GENERATED, TITLES, folder_page, forest_rows, front_page
from replication.report.gpu import write_gpu_page
from replication.report.tables import cifar, evidence, large_scale
from replication.report.tables.table import Table, budget

TABLES = (cifar.table2, evidence.methods_table, evidence.scale_table, evidence.ablations_table, evidence.bias_table)
FIGURES = {  # of each data set of a profile
    "curves": training.curves_figure,
    "betas": training.betas_figure,
    "class_change": training.class_change_figure,
    "heat_map": heat_maps.measured_heat_map,
}
# Links on a folder's page to files that a rebuild writes there, and so may remove: never records, never data.
OWNED = re.compile(r"\]\((tables/[\w-]+\.(?:md|csv|tex)|(?:figures/)?[\w-]+\.(?:png|pdf))\)")


def profile_tables(profile: Profile) -> list[Table]:
    """The tables of a profile that have a row."""
    maps = [cifar.heat_map(profile, dataset) for dataset in sorted(set(profile.cells["dataset"]))]
    return [table for table in [*(make(profile) for make in TABLES), *maps] if len(table.shown)]


def all_tables(profiles: dict[str, Profile], seen: Evidence) -> dict[str, list[Table]]:
    """The tables of each folder of the results."""
    tables = {name: profile_tables(profile) for name, profile in profiles.items() if name != "length"}
    if "length" in profiles:
        tables["length"] = [evidence.length_table(profiles)]
    runs = [large_scale.runs_table(seen.large_scale)] if len(seen.large_scale) else []
    return tables | {
        "published": [evidence.improvements_table(), evidence.published_bias_table()],
        LARGE_SCALE: [large_scale.table3(seen.large_scale), large_scale.cost_table(), *runs],
        "statements": [evidence.claims_table(statements(seen))],
    }


def profile_drawings(results: Path, profile: Profile) -> Drawings:
    """The figures of a profile that its records may allow: each data set its own, the drops of the rate, methods."""
    folder, sets = results / profile.name / "figures", sorted(set(profile.cells["dataset"]))
    drawings: Drawings = {folder / f"{k}_{d}": partial(draw, profile, d) for d in sets for k, draw in FIGURES.items()}
    drawings[folder / "drop"] = partial(training.drop_figure, profile)
    drawings[folder / "methods"] = partial(gains.methods_figure, profile)
    return drawings


def common_drawings(results: Path) -> Drawings:
    """The figures of print, theory, covering and large scale, which no profile's records change."""
    printed, formula, large = (results / name / "figures" for name in ("published", "theory", LARGE_SCALE))
    return {printed / f"figure{n}": partial(heat_maps.published_heat_map, d) for d, n in paper.FIGURES.items()} | {
        printed / "figure4": class_counts_figure,
        printed / "figure5": training.figure5,
        formula / "figure3_weights": theory.class_balanced_term_figure,
        formula / "figure6_effective_numbers": theory.effective_numbers_figure,
        formula / "class_weights": theory.class_weights_figure,
        large / "figure7": partial(training.figure7, large_scale_records(results)),
        large / "inaturalist_counts": theory.inaturalist_counts_figure,
        **covering_figures.drawings(results / "covering"),
    }


def rebuild(results: Path | str = "results", figures: bool = True) -> list[Path]:
    """Write everything that is derived from RESULTS/<profile>/runs; return the paths of all derived files.

    That is tables and figures of every profile that has records, those of the printed numbers, of theory, losses and
    covering, a page for each folder and RESULTS/README.md, in which the smoke profile never appears.  Each profile's
    records are read once, so that a run which ends meanwhile is in all of them or in none.  Tables and figures that
    an earlier rebuild wrote, and this one does not, are removed.

    figures: False leaves the figures as they are and links those that are there.

    >>> paths = rebuild("results")  # doctest: +SKIP
    """
    results = Path(results)
    before = listed(results)
    profiles = read_profiles(results)
    seen = read_evidence(results, {name: profile for name, profile in profiles.items() if name != "smoke"})
    drawings = common_drawings(results)
    drawings[results / "figures" / "forest"] = partial(gains.forest_figure, forest_rows(seen.full, seen.short))
    for name, profile in profiles.items():
        drawings |= profile_drawings(results, profile) if name != "length" else {}  # that profile mixes two budgets
    there = [path for stem in drawings for end in ("png", "pdf") if (path := Path(f"{stem}.{end}")).is_file()]
    written = draw_all(drawings, min(4, cpu_count())) if figures else there
    tables = all_tables(profiles, seen)
    for name, made in tables.items():
        written += [path for table in made for path in table.write(results / name / "tables")]
    written += sorted((results / "covering").glob("*.csv"))
    written += _write_folder_pages(results, profiles, tables, seen, written)
    written += write_gpu_page(results, seen.full.records)
    linked = [path for path in written if path.relative_to(results).parts[0] != "smoke"]
    written.append(write_text(results / "README.md", front_page(results, seen, linked)))
    for path in before.difference(written):
        path.unlink(missing_ok=True)
    return written


def _write_folder_pages(results: Path, profiles: dict[str, Profile], tables, seen, written) -> list[Path]:
    """Write RESULTS/<folder>/README.md of each folder; return the paths."""
    titles = TITLES | {name: profile.heading for name, profile in profiles.items()}
    paths = []
    for name in [*tables, "theory", "covering"]:
        text = budget(profiles[name]) if name in profiles else ""
        page = folder_page(results / name, titles[name], text, tables.get(name, []), written)
        page += evidence.findings_markdown(statements(seen)) if name == "statements" else ""
        paths.append(write_text(results / name / "README.md", page))
    return paths


def listed(results: Path) -> set[Path]:
    """Return the pages of folders that the last rebuild wrote, and the tables and figures that they list."""
    pages = ((page, page.read_text(encoding="utf-8")) for page in results.glob("*/README.md"))
    ours = {page: text for page, text in pages if GENERATED in text}
    return set(ours) | {page.parent / link for page, text in ours.items() for link in OWNED.findall(text)}
