"""results/README.md: a picture and five sentences, then verdicts, tables and figures.  Every number is computed."""

from pathlib import Path

import pandas as pd

from replication.experiments.experiment import PROFILES
from replication.report.analysis import published as paper
from replication.report.analysis.ablations import controls, parts_of_the_gain
from replication.report.analysis.comparison import by_cell
from replication.report.analysis.measured import (
    cells,
    complete,
    differences,
    fixed_beta,
    lost_pairs,
    pairs,
    settings_by_seeds,
    wall_hours,
)
from replication.report.analysis.selection import difference_by_imbalance, improvements, published_luck
from replication.report.analysis.statistics import SEEDS, summary
from replication.report.claims.verdicts import CONTRADICTED, INCONCLUSIVE, NOT_MEASURED, REPLICATED
from replication.report.figures.style import figure_caption
from replication.report.tables import cifar as tables
from replication.report.tables import evidence as evidence_tables
from replication.report.tables.claims import wide
from replication.report.tables.table import interval, markdown_rows, number, signed, spread
from replication.theory import covering

Records = dict[str, pd.DataFrame]  # profile -> its records
OF_THE_PAPER = {  # its figures and tables -> file names here
    "Figure 2": ("covering",), "Figure 3": ("figure3_weights",), "Figure 4": ("figure4",), "Figure 5": ("figure5",),
    "Figure 6": ("figure6_effective_numbers",), "Figure 7": ("figure7",), "Figure 8": ("figure8", "heat_map_cifar10"),
    "Figure 9": ("figure9", "heat_map_cifar20"), "Figure 10": ("figure10", "heat_map_cifar100"),
    "Table 1": ("table1",), "Table 2": ("table2",), "Table 3": ("table3",),
}  # fmt: skip


def verdict_sentence(verdicts: pd.DataFrame) -> str:
    """How many claims stand and fall without training, which fail, and what our runs have decided."""
    trained = verdicts["evidence"].str.contains("runs")
    by_claim = verdicts[~trained].groupby("id", sort=False)["verdict"].agg(set)
    falls = [claim for claim, found in by_claim.items() if CONTRADICTED in found]
    stands = [claim for claim, found in by_claim.items() if found == {REPLICATED}]
    total, left = verdicts["id"].nunique(), len(by_claim) - len(stands) - len(falls)
    words = (
        f"Of the paper's {total} claims, arithmetic, simulation and its own printed numbers bear out {len(stands)} and "
        f"contradict {len(falls)} ({', '.join(falls) or 'none'}); {left} stay open, {total - len(by_claim)} rest on "
        "training alone."
    )
    for kind, group in verdicts[verdicts["evidence"].str.match(r"runs \(")].groupby("evidence"):
        words += f" Our {_with_budget(kind)} {_decided(group)}."
    core = verdicts.query("id == 'T1' and evidence == 'simulation'").iloc[0]
    return f"{words} The formula for the effective number, against the simulated covering: {core['verdict']}."


def _with_budget(kind: str) -> str:
    return kind.replace(")", f": {_network(kind.removeprefix('runs (').removesuffix(')'))})")


def _network(profile: str) -> str:
    return f"ResNet-{PROFILES[profile]['depth']}, {PROFILES[profile]['epochs']} epochs"


def _decided(verdicts: pd.DataFrame) -> str:
    """What runs say of the claims that they bear on: "replicate R1, contradict R2 and leave 8 of 10 open"."""
    named = {v: ", ".join(verdicts.loc[verdicts["verdict"] == v, "id"]) for v in (REPLICATED, CONTRADICTED)}
    words = [f"{verb} {named[v]}" for v, verb in ((REPLICATED, "replicate"), (CONTRADICTED, "contradict")) if named[v]]
    left = verdicts["verdict"].isin((INCONCLUSIVE, NOT_MEASURED)).sum()
    if not words:
        return f"decide none of the {len(verdicts)} that they bear on so far"
    return f"{', '.join(words)} and leave {left} of {len(verdicts)} open"


def gain_sentence(records: Records) -> str:
    """Our gain at the fixed beta, profile by profile: at each imbalance with enough seeds, over the same losses."""
    words, beta = [], fixed_beta("cifar10")
    printed_gains = paper.difference_to_plain(paper.heat_map("cifar10")).query("beta == @beta")
    for profile, frame in records.items():
        both, lost = (
            rows[(rows["beta"] == beta) & rows["label"].isin(paper.LABELS)].query(
                "dataset == 'cifar10' and imbalance_factor > 1"
            )
            for rows in (pairs(frame), lost_pairs(frame))
        )
        table = complete(settings_by_seeds(differences(both)))
        if not table.size:
            continue
        losses = pd.Series(1, table.index).unstack("imbalance_factor").droplevel(["dataset", "beta"])
        shared = losses.dropna()  # measured at each of the factors
        shared = shared if len(shared) else losses[[losses.count().idxmax()]].dropna()
        said = []
        for factor in sorted(shared.columns, reverse=True):
            here = table.xs(factor, level="imbalance_factor")
            s = summary(here[here.index.get_level_values("label").isin(shared.index)].mean())
            printed = printed_gains.query("imbalance_factor == @factor and label in @shared.index")["difference"].mean()
            said.append(f"{signed(s.mean)}{interval(s.low, s.high)} at imbalance {factor:g} (paper {signed(printed)})")
        gone = int((lost["imbalance_factor"].isin(shared.columns) & lost["label"].isin(shared.index)).sum())
        words.append(
            f"profile {profile} ({_network(profile)}; {', '.join(sorted(shared.index, key=paper.LABELS.index))}; "
            f"seeds: {table.shape[1]}"
            f"{f'; pairs lost to divergence: {gone}' if gone else ''}): {', '.join(said)}"
        )
    if not words:
        return f"Our own class-balanced minus plain runs on CIFAR-10 at beta {beta:g}: not measured."
    return (
        f"On real CIFAR-10 the class-balanced loss at beta {beta:g}, fixed before our runs, changes the error by, in "
        f"points (paired by seed, 95 % interval over seeds; the paper's mean over the same losses): {'; '.join(words)}."
    )


def protocol_sentence(records: Records) -> str:
    """The cells that the authors re-ran themselves: paper, their rerun, a user's, ours."""
    later, ours = paper.reruns(), by_cell(cells(records["paper"])) if "paper" in records else {}
    printed = (
        paper.heat_map("cifar10").query("imbalance_factor == 50 and label == 'softmax'").set_index("beta")["error"]
    )
    words = []
    for beta in (0.0, 0.9999):
        again = later.query("label == 'softmax' and beta == @beta").groupby("source", sort=False)["error"]
        others = [f"{source}{f' (mean of {len(g)})' if len(g) > 1 else ''} {number(g.mean())}" for source, g in again]
        mine = spread(ours.get(("cifar10", "softmax", beta, 50.0)))
        found = ", ".join([f"ours {mine}", f"paper {number(printed[beta])}", *others])
        words.append(f"{'plain' if not beta else f'class-balanced at {beta:g}'} {found}")
    head = f"full protocol ({_network('paper')}{_precision(records.get('paper'))})"
    return f"Softmax at imbalance 50, {head}, error in percent: {'; '.join(words)}."


def _precision(runs: pd.DataFrame | None) -> str:
    return "" if runs is None or not len(runs) else f"; ours trained in {_each(runs['precision'], ' and ')}"


def selection_sentence() -> str:
    """What the best of 20 can gain by luck, and what is left at the one beta that the paper advises, from its print."""
    luck = published_luck().query("dataset == 'cifar10'")
    fixed = difference_by_imbalance().query("dataset == 'cifar10' and beta == 0.9999")["mean_difference"]
    counts = improvements().query("dataset == 'cifar10'")
    tally = ", ".join(f"{r.improved} of {r.of} at {r.beta:g}" for r in counts.itertuples())
    return (
        "The paper's class-balanced row is the best of 20 settings, picked on the test set. On CIFAR-10 it lies "
        f"{number(luck['gain'].min())} to {number(luck['gain'].max())} points below the best plain loss; picking by "
        f"luck alone gives {number(luck['luck'].min())} to {number(luck['luck'].max())} of them "
        f"({signed(luck['fair_luck'].min())} to {signed(luck['fair_luck'].max())} more than the pick among 5 plain "
        "ones gives). Without a pick, at beta 0.9999, which the paper advises from these same cells, the mean error "
        f"over losses changes by {signed(fixed.min())} to {signed(fixed.max())}; cells that improve: {tally}."
    )


def controls_sentence(records: Records) -> str:
    """What part of the gain is re-balancing, and the slips that cost: the first profile that has controls."""
    for profile, frame in records.items():
        parts, slips = (
            parts_of_the_gain(frame),
            controls(frame).query('against == "the paper\'s protocol" and beta > 0'),
        )
        words, slips = [], slips[~slips["switch"].isin(("weights", "shuffle"))]  # ours, and the authors' pipeline
        if len(parts):
            gain, step, rest = parts.iloc[:3].to_dict("records")  # of one loss
            words.append(
                f"the gain of {_points(gain)} points ({gain['label']}, imbalance {gain['imbalance_factor']:g}) is "
                f"{_points(rest)} from weighting classes unlike and {_points(step)} from the smaller loss that comes "
                "with it"
            )
        if len(slips):
            found = "; ".join(f"{r['words']} {_points(r)} ({r['label']})" for r in slips.to_dict("records"))
            shown = slips.loc[(slips["n"] >= SEEDS) & (slips["low"] > 0), "switch"].nunique()
            words.append(
                f"of {slips['switch'].nunique()} changes that other code makes {shown or 'none'} "
                f"{'is' if shown < 2 else 'are'} shown to raise the error: {found}"
            )
        if words:
            seeds = "/".join(str(n) for n in sorted({*parts["n"], *slips["n"]}))
            return f"Controls (profile {profile}; seeds: {seeds}): {'; '.join(words)}."
    return "Controls, what part of the gain is re-balancing and what each porting slip costs: not measured."


def _points(row: dict) -> str:
    return f"{signed(row['mean'])}{interval(row['low'], row['high'])}"


def sentences(records: Records, verdicts: pd.DataFrame) -> list[str]:
    """The five sentences of the first screen."""
    return [
        verdict_sentence(verdicts), gain_sentence(records), protocol_sentence(records), selection_sentence(),
        controls_sentence(records),
    ]  # fmt: skip


def picture(records: Records) -> str:
    """The gain figure of the profile with most records on CIFAR-10, else of the printed numbers."""
    counts = {profile: int((frame["dataset"] == "cifar10").sum()) for profile, frame in records.items()}
    best = max(counts, key=counts.get) if counts else None
    return f"{best}/figures/gain.png" if best and counts[best] else "published/figures/gain.png"


def front_page(results: Path, records: Records, by_profile: dict[str, pd.DataFrame], written: list[Path]) -> str:
    """The text of results/README.md; `written` are the files to link, below `results`."""
    longest = pd.concat([v.assign(profile=p) for p, v in by_profile.items()])
    shared = longest[longest["evidence"] != "runs"].drop_duplicates(["id", "evidence"])
    runs = longest[longest["evidence"] == "runs"]
    verdicts = pd.concat([shared, runs.assign(evidence="runs (" + runs["profile"] + ")")])
    lines = ["# Results", "", "Generated from the records by `python -m replication report`; do not edit.", ""]
    lines += [f"![Class-balanced minus plain against imbalance, and error per class]({picture(records)})", ""]
    lines += [f"{i}. {text}" for i, text in enumerate(sentences(records, verdicts), start=1)] + [""]
    lines += _budgets(records) + _of_the_paper(results, written)
    lines += ["## Verdicts", "", markdown_rows(wide(by_profile)), ""]
    links = [f"[{p}]({p}/tables/claims.md)" for p in by_profile]
    budgets = [f"{p}: {_network(p)}" for p in by_profile]
    lines += [
        '"-": the kind of evidence does not apply. "published": whether the numbers that the paper prints bear out '
        "what it says of them; nothing was run for that. A verdict of runs holds at the budget of its profile "
        f"({'; '.join(budgets)}; the paper's is that of profile paper). "
        f"Findings and rules, claim by claim: {', '.join(links)}.",
        "",
    ]
    for profile, frame in records.items():
        lines += _profile(results, profile, frame, written)
    lines += ["## What the paper's own numbers say", ""]
    lines += [evidence_tables.improvements_table().markdown(), evidence_tables.published_luck_table().markdown()]
    lines += [_files(results, written, "published"), ""]
    for folder, title in (("large-scale", "Large scale"), ("theory", "Theory"), ("covering", "Random covering")):
        if any(path.is_relative_to(results / folder) for path in written):
            lines += [f"## {title}", "", *(_covering_note(results) if folder == "covering" else [])]
            lines += [*_images(results, written, folder), _files(results, written, folder), ""]
    return "\n".join(lines).rstrip() + "\n"


def _covering_note(results: Path) -> list[str]:
    """What the check of the covering tables says, and which rows its variances are judged on."""
    if not (path := results / "covering" / "verify.csv").is_file():
        return []
    return [
        "Simulated means and variances against the exact ones, verify.csv: "
        f"{covering.check(pd.read_csv(path)).message}. "
        f"A variance is judged where replicates x exact variance is {covering.FOR_VARIANCE} or more and, on the torus, "
        "its exact standard deviation is 1 or more and E_n is 3 of them away from 0 and from N, so that chi-square "
        "holds: rows near empty and near full are left out, by exact values alone. The means of all rows are judged.",
        "",
    ]


def _budgets(records: Records) -> list[str]:
    if not records:
        return ["No profile has records yet: nothing of our own is measured.", ""]
    rows = [
        {"profile": p, "records": len(f), "diverged": int((f["status"] != "finished").sum()),
         "wall hours": f"{wall_hours(f):.1f}",
         "network": f"ResNet-{_each(f['depth'])}", "epochs": _each(f["epochs"]),
         "seeds": _each(f["seed"], " "), "precision": _each(f["precision"], ", "), "hardware": _each(f["device"], "; ")}
        for p, f in records.items()
    ]  # fmt: skip
    return [
        markdown_rows(pd.DataFrame(rows)),
        "",
        "Wall hours are summed over runs; runs that shared a machine count in full.",
        "",
    ]


def _each(values, between: str = "/") -> str:
    return between.join(str(v) for v in sorted(set(values)))


def _profile(results: Path, profile: str, frame: pd.DataFrame, written: list[Path]) -> list[str]:
    kinds = (tables.table2, evidence_tables.parts_table, evidence_tables.controls_table, evidence_tables.luck_table)
    shown = [table(frame, profile) for table in kinds]
    lines = [f"## Profile {profile}", ""]
    lines += [table.markdown() for table in shown if len(table.shown)]
    lines += _images(results, [path for path in written if path.stem != "gain"], profile)
    return [*lines, _files(results, written, profile), ""]


def _images(results: Path, written: list[Path], folder: str) -> list[str]:
    paths = sorted(p.relative_to(results) for p in written if p.suffix == ".png" and p.is_relative_to(results / folder))
    return [f"![{p.stem.replace('_', ' ')}]({p.as_posix()})\n\n*{figure_caption(p.stem)}*\n" for p in paths]


def _of_the_paper(results: Path, written: list[Path]) -> list[str]:
    """Where each figure and table of the paper is, printed and ours."""
    places: dict[str, list[str]] = {name: [] for name in OF_THE_PAPER}
    for path in sorted(p.relative_to(results) for p in written):
        for name, stems in OF_THE_PAPER.items():
            if path.stem in stems and path.suffix == (".png" if name.startswith("Figure") else ".md"):
                places[name].append(f"[{path.parts[0]}]({path.as_posix()})")
    said = "; ".join(f"{name} {', '.join(links)}" for name, links in places.items() if links)
    return [f"The paper's figures and tables, printed and ours: {said}.", ""] if said else []


def _files(results: Path, written: list[Path], folder: str) -> str:
    groups: dict[str, list[str]] = {}
    for path in sorted(p for p in written if p.is_relative_to(results / folder)):
        short = path.relative_to(results).as_posix()
        groups.setdefault(path.stem, []).append(f"[{path.suffix[1:]}]({short})")
    return "Files: " + "; ".join(f"{name.replace('_', ' ')} {' '.join(links)}" for name, links in groups.items()) + "."
