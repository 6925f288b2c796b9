"""results/README.md and the page of each folder below it, from templates.  Every number is computed."""

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from replication.experiments.grids import IMBALANCE_FACTORS
from replication.experiments.large_scale import PROFILE as LARGE_SCALE
from replication.report.analysis import published as paper
from replication.report.analysis.comparison import forest
from replication.report.analysis.measured import fixed_beta
from replication.report.analysis.profile import Profile
from replication.report.analysis.selection import agreement_probability, published_selection_bias, replicate_sd
from replication.report.claims import answers as claims
from replication.report.claims.finding import interval_word
from replication.report.claims.planned import planned_seeds
from replication.report.claims.statements import Evidence, Statement, statements
from replication.report.figures.style import figure_caption
from replication.report.tables.large_scale import cost_table
from replication.report.tables.methods import methods_table
from replication.report.tables.table import Table, markdown_rows, number, signed
from replication.theory import covering

TEMPLATES = Environment(
    loader=PackageLoader("replication.report"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    keep_trailing_newline=True,
)  # fmt: skip
TITLES = {
    "published": "The paper's own numbers",
    "theory": "The formula and the weights",
    "covering": "Random covering, simulated",
    LARGE_SCALE: "Large scale (Table 3, Figure 7)",
    "statements": "What the paper says, statement by statement",
}


def front_page(results: Path, profiles: dict[str, Profile], evidence: Evidence, written: Iterable[Path]) -> str:
    """Return the text of results/README.md.

    Args:
        results: the folder to which links are relative.
        profiles: those to show, by name (smoke is not among them).
        evidence: the evidence on which statements are weighed.
        written: the files below `results`; figures that are not among them are left out.
    """
    images = {path.relative_to(results).as_posix() for path in written if path.suffix == ".png"}
    pages = (*profiles, *TITLES)
    by_topic = {topic: list(group) for topic, group in groupby(statements(evidence), lambda s: s.topic)}
    return TEMPLATES.get_template("front_page.md.j2").render(
        answers=claims.answers(evidence),
        linked=lambda text, link: f"[{text}]({link})" if link.split("/")[0] in pages else text,
        figure=lambda path: f"![{figure_caption(Path(path).stem)}]({path})" if path in images else "",
        wrong_or_loose=claims.wrong_or_loose(evidence),
        betas=claims.which_beta(),
        beta_warning=claims.beta_warning(),
        ours=[s for s in by_topic.pop("ours") if s.id not in ("O3", "O4")],  # these two have their own sections
        largest=max(profiles, key=lambda name: len(profiles[name].pairs), default=""),
        method_sentence=claims.method_sentence(evidence),
        methods=short_methods(profiles["paper"]) if "paper" in profiles else "",
        selection=markdown_rows(selection_rows()),
        agreement=agreement(),
        theory_note=theory_note(results),
        scope=markdown_rows(claims.scope(evidence).astype(str)),
        not_run=not_run(profiles, evidence.large_scale),
        topics=by_topic.items(),
        words=words,
        pages=[f"[{name}]({name}/README.md)" for name in pages],
    )


def folder_page(
    results: Path, folder: str, title: str, tables: Sequence[Table], text: str, written: Iterable[Path]
) -> str:
    """Return the text of RESULTS/FOLDER/README.md: tables, every figure of the folder with its caption, its files."""
    own = sorted(path.relative_to(results / folder) for path in written if path.is_relative_to(results / folder))
    images = [(path.as_posix(), figure_caption(path.stem)) for path in own if path.suffix == ".png"]
    files = [
        f"{stem.replace('_', ' ')} {' '.join(f'[{path.suffix[1:]}]({path.as_posix()})' for path in group)}"
        for stem, group in groupby(sorted(own, key=lambda path: path.stem), lambda path: path.stem)
    ]
    page = TEMPLATES.get_template("page.md.j2")
    return page.render(title=title, text=text, tables=tables, images=images, files=files)


def words(statement: Statement) -> str:
    """Return the words of the kinds of evidence, such as "Proved, confirmed" for a derivation and a simulation."""
    return ", ".join(dict.fromkeys(statement.words.values())).capitalize()


def short_methods(profile: Profile) -> str:
    """Return the table of methods without spreads, words and cost; empty below two methods."""
    table = methods_table(profile)
    columns = ["data set", "method", "error", "change", "head / medium / tail", "literature"]
    shown = table.shown.assign(error=[number(mean) for mean in table.data["mean"]])[columns]
    return markdown_rows(shown) if len(shown) > 1 else ""


def selection_rows() -> pd.DataFrame:
    """By data set, from the printed numbers: the gain of the best of 20, what choosing explains, one fixed beta."""
    rows = []
    for dataset, group in published_selection_bias().groupby("dataset", sort=False):
        rows.append(
            {
                "data set": paper.TITLES[dataset],
                "best of 20 minus best plain": f"{signed(group['change'].min())} to {signed(group['change'].max())}",
                "explained by the choice": f"at most {number(group['bias_over_plain'].max())}",
                "one beta, nothing chosen": f"{signed(group['fixed_change'].min())} to "
                f"{signed(group['fixed_change'].max())} (beta {group['fixed_beta'].iloc[0]:g})",
            }
        )
    return pd.DataFrame(rows)


def agreement() -> str:
    """Say how likely cross-validation is to choose the lowest test error in all ten columns, as Appendix A states."""
    chance = agreement_probability(replicate_sd()[0])
    return f"{chance:.0e}".replace("e-0", "e-")


def theory_note(results: Path) -> str:
    """Summarise the simulation of the covering, with the number of variances tested and the rule."""
    path = results / "covering" / "verify.csv"
    if not path.is_file():
        return "The covering has not been simulated here."
    table = pd.read_csv(path)
    check = covering.check(table)
    return (
        f"{len(table)} simulated mean volumes {'agree' if check.passed else 'do not all agree'} with the formula: the "
        f"largest |z| is {check.largest_z:.2f}, the bound {check.bound:.2f}. {check.variances} of {check.known} exact "
        f"variances can be tested by chi-square (smallest corrected p {check.smallest_p:.2g}). Where samples cluster, "
        "the formula is only an upper bound:"
    )


def not_run(profiles: dict[str, Profile], large_scale: pd.DataFrame) -> str:
    """Say which columns of Table 2 have no pair of runs at full protocol, and what Table 3 would cost."""
    known = set()
    if "paper" in profiles:
        cells = profiles["paper"].paired_cells
        known = set(zip(cells["dataset"], cells["imbalance_factor"], strict=True))
    missing = {d: [f for f in IMBALANCE_FACTORS if (d, f) not in known] for d in paper.HEAT_MAPS}
    said = "; ".join(
        f"{paper.TITLES[d]} at {', '.join(f'{f:g}' for f in factors)}" if len(factors) < len(IMBALANCE_FACTORS)
        else f"{paper.TITLES[d]} at any imbalance" for d, factors in missing.items() if factors
    )  # fmt: skip
    hours = cost_table(large_scale).data["gpu_hours"].sum()
    return f"Not run at full protocol: {said}; iNaturalist and ILSVRC (Table 3, an estimated {hours:,.0f} GPU hours)."


def forest_rows(profiles: dict[str, Profile]) -> pd.DataFrame:
    """The rows of the forest plot: the columns of Table 2 at full protocol, printed and ours; then the short study.

    Full protocol: softmax, at the beta fixed beforehand, and CIFAR-100 at 0.9999 where it was run.  The sizes of the
    short study do not compare with the paper's, so its rows have no printed value.
    """
    keys = ["dataset", "beta", "imbalance_factor"]
    printed = paper.difference_to_plain(paper.heat_maps()).query("label == 'softmax'").set_index(keys)["difference"]
    full = profiles["paper"].paired_cells.query("label == 'softmax'") if "paper" in profiles else pd.DataFrame()
    ours = {tuple(row[k] for k in keys): row for row in full.to_dict("records")}
    wanted = [(d, fixed_beta(d), f) for d in paper.TABLE2_SETS for f in IMBALANCE_FACTORS]
    wanted += [("cifar100", 0.9999, f) for f in IMBALANCE_FACTORS if ("cifar100", 0.9999, f) in ours]
    block = "Full protocol (ResNet-32, 200 epochs), softmax"
    rows = [_forest_row(block, *key, ours.get(key, {}), planned_seeds(*key), printed[key]) for key in wanted]
    for profile in (profiles[name] for name in ("cpu",) if name in profiles):
        for r in forest(profile).to_dict("records"):
            block = f"{profile.title.capitalize()} ({profile.budget}), {', '.join(r['labels'])}"
            rows.append(_forest_row(block, r["dataset"], r["beta"], r["imbalance_factor"], r))
    return pd.DataFrame(rows)


def _forest_row(block: str, dataset: str, beta: float, factor: float, row: dict, planned=0, printed=math.nan) -> dict:
    found = {name: row.get(key, math.nan) for name, key in (("estimate", "mean"), ("low", "low"), ("high", "high"))}
    n = int(row.get("n", 0))
    word = interval_word(found["low"], found["high"], n, planned) if n else ""
    label = f"{paper.TITLES[dataset]} at {factor:g}, beta {beta:g}"
    return {"block": block, "label": label, "n": n, "word": word, "printed": printed} | found
