"""results/README.md: a picture and five sentences, then verdicts, tables and figures.  Every number is computed."""

from pathlib import Path

import pandas as pd

from replication.report import claims, evidence_tables, paper, tables
from replication.report.controls import controls, parts_of_the_gain
from replication.report.measured import (
    cells,
    complete,
    differences,
    fixed_beta,
    lost_pairs,
    pairs,
    settings_by_seeds,
    wall_hours,
)
from replication.report.selection import difference_by_imbalance, improvements, published_luck, rerun_sd
from replication.report.statistics import expected_minimum, summary
from replication.report.verdicts import SEEDS, VERDICTS
from replication.report.writing import interval, markdown_rows, number, signed, spread
from replication.theory import covering
from replication.training.experiment import PROFILES

Records = dict[str, pd.DataFrame]  # profile -> its records


def verdict_sentence(verdicts: pd.DataFrame) -> str:
    """How many verdicts of each kind, and what the covering says."""
    ours = verdicts["evidence"].str.startswith("runs")
    counts = verdicts["verdict"].value_counts()
    tally = f"print, arithmetic, simulation and large scale: {_tally(verdicts[~ours])}"
    for kind, group in verdicts[ours].groupby("evidence"):  # "runs", or "runs (cpu)"
        tally += f"; our {_with_budget(kind)}: {_tally(group)}"
    core = verdicts.query("id == 'T1' and evidence == 'simulation'").iloc[0]
    judged = len(verdicts) - counts.get("not measured", 0)
    return (
        f"Of {verdicts['id'].nunique()} claims of the paper, {judged} of {len(verdicts)} pieces of evidence are judged "
        "by rule (those on runs were written before the runs and tightened since, those on printed numbers with these "
        "known): "
        f"{tally}; its formula for the effective number against the simulated covering: {core['verdict']}."
    )


def _with_budget(kind: str) -> str:
    budget = PROFILES.get(kind.removeprefix("runs (").removesuffix(")"))
    return kind.replace(")", f": ResNet-{budget['depth']}, {budget['epochs']} epochs)") if budget else kind


def _tally(verdicts: pd.DataFrame) -> str:
    counts = verdicts["verdict"].value_counts()
    return ", ".join(f"{counts[v]} {v}" for v in VERDICTS if v in counts)


def gain_sentence(records: Records) -> str:
    """Our gain at the fixed beta, profile by profile: at every imbalance that was measured, over the same losses."""
    words = []
    for profile, frame in records.items():
        both, lost = (
            rows.query("dataset == 'cifar10' and beta == @fixed_beta('cifar10') and imbalance_factor > 1")
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
            said.append(f"{signed(s.mean)}{interval(s.low, s.high)} at {factor:g}")
        gone = int((lost["imbalance_factor"].isin(shared.columns) & lost["label"].isin(shared.index)).sum())
        words.append(
            f"{', '.join(said)} (profile {profile}; {', '.join(shared.index)}; seeds: {table.shape[1]}"
            f"{f'; pairs lost to divergence: {gone}' if gone else ''})"
        )
    beta = f"{fixed_beta('cifar10'):g}"
    if not words:
        return f"Our own class-balanced minus plain runs on CIFAR-10 at beta {beta}: not measured."
    return (
        f"Class-balanced minus plain on real CIFAR-10 by imbalance factor, points of error at beta {beta}, fixed "
        f"beforehand, paired by seed: {'; '.join(words)}."
    )


def protocol_sentence(records: Records) -> str:
    """The cells that the authors re-ran themselves: paper, their rerun, a user's, ours."""
    later, ours = paper.reruns(), _by_cell(records.get("paper"))
    printed = (
        paper.heat_map("cifar10").query("imbalance_factor == 50 and label == 'softmax'").set_index("beta")["error"]
    )
    words = []
    for beta in (0.0, 0.9999):
        again = later.query("label == 'softmax' and beta == @beta").groupby("source", sort=False)["error"].mean()
        others = ", ".join(f"{source} {number(error)}" for source, error in again.items())
        mine = spread(ours.get(("cifar10", "softmax", beta, 50.0)))
        words.append(
            f"{'plain' if not beta else 'class-balanced'}: paper {number(printed[beta])}, {others}, ours {mine}"
        )
    budget = PROFILES["paper"]
    head = f"Full protocol (ResNet-{budget['depth']}, {budget['epochs']} epochs{_precision(records.get('paper'))})"
    return f"{head}, softmax at imbalance 50, error in percent: {'; '.join(words)}."


def _precision(runs: pd.DataFrame | None) -> str:
    return "" if runs is None or not len(runs) else f"; ours trained in {_each(runs['precision'], ' and ')}"


def _by_cell(records: pd.DataFrame | None) -> dict:
    if records is None or not len(records):
        return {}
    return {(r["dataset"], r["label"], r["beta"], r["imbalance_factor"]): r for r in cells(records).to_dict("records")}


def selection_sentence() -> str:
    """What the best of 20 can gain by luck, and what is left at one beta fixed beforehand, from printed numbers."""
    luck = published_luck().query("dataset == 'cifar10'")
    fixed = difference_by_imbalance().query("dataset == 'cifar10' and beta == 0.9999")["mean_difference"]
    counts = improvements().query("dataset == 'cifar10'")
    tally = ", ".join(f"{r.improved} of {r.of} at {r.beta:g}" for r in counts.itertuples())
    sd, _ = rerun_sd()
    return (
        "The paper's class-balanced row is the best of 20 on the test set: luck alone gives "
        f"{number(luck['luck'].min())} to {number(luck['luck'].max())} points by its own CIFAR-10 heat map ("
        f"{signed(luck['fair_luck'].min())} to {signed(luck['fair_luck'].max())} beyond that of the best "
        "of 5 plain; about "
        f"{number(-sd * expected_minimum(20))} if all 20 were equal, by the spread of reruns, sd {number(sd)}), while "
        "beta 0.9999, which it advises from these same cells, changes the mean error by "
        f"{signed(fixed.min())} to {signed(fixed.max())} points; cells that improve: {tally}."
    )


def controls_sentence(records: Records) -> str:
    """What part of the gain is re-balancing, and the slips that cost: the first profile that has controls."""
    for profile, frame in records.items():
        parts, slips = (
            parts_of_the_gain(frame),
            controls(frame).query('against == "the paper\'s protocol" and beta > 0'),
        )
        words = []
        if len(parts):
            one = {r["part"]: r for r in parts.iloc[:3].to_dict("records")}
            words.append(
                f"of the gain of {spread(one['gain'], True)} points ({one['gain']['label']}, imbalance "
                f"{one['gain']['imbalance_factor']:g}) re-balancing gives {spread(one['re-balancing'], True)} and "
                f"the smaller average step {spread(one['step'], True)}"
            )
        slips = slips[~slips["switch"].isin(("weights", "shuffle"))]  # a control of our own, and the authors' pipeline
        if len(slips):
            costly = slips[(slips["n"] >= SEEDS) & (slips["low"] > 0)].to_dict("records")
            found = "; ".join(f"{r['words']} {spread(r, True)} points ({r['label']})" for r in costly)
            words.append(
                f"of {len(slips)} porting slips measured, those that cost more than nothing by {SEEDS} seeds or more: "
                f"{found or 'none so far'}"
            )
        if words:
            return f"Controls (profile {profile}): {'; '.join(words)}."
    return "Controls, what part of the gain is re-balancing and what each porting slip costs: not measured."


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
    lines += _budgets(records)
    lines += ["## Verdicts", "", markdown_rows(claims.wide(by_profile)), ""]
    links = [f"[{p}]({p}/tables/claims.md)" for p in by_profile]
    budgets = [f"{p}: ResNet-{PROFILES[p]['depth']}, {PROFILES[p]['epochs']} epochs" for p in by_profile]
    lines += [
        '"-": the kind of evidence does not apply. A verdict of runs holds at the budget of its profile '
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
    return [f"![{p.stem.replace('_', ' ')}]({p.as_posix()})\n" for p in paths]


def _files(results: Path, written: list[Path], folder: str) -> str:
    groups: dict[str, list[str]] = {}
    for path in sorted(p for p in written if p.is_relative_to(results / folder)):
        short = path.relative_to(results).as_posix()
        groups.setdefault(path.stem, []).append(f"[{path.suffix[1:]}]({short})")
    return "Files: " + "; ".join(f"{name.replace('_', ' ')} {' '.join(links)}" for name, links in groups.items()) + "."
