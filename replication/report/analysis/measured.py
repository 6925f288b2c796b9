"""Turn records of one profile into cells (mean, spread, n) and pairs (class-balanced against plain, same seed)."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from replication.experiments import experiment
from replication.experiments.experiment import loss_label, paper_setting
from replication.experiments.records import read_records
from replication.report.analysis.statistics import SEEDS, Summary, summary

CELL = ["dataset", "label", "beta", "imbalance_factor"]
PROTOCOL = ("base_learning_rate", "weight_decay", *experiment.SWITCHES)  # fields of every run of the paper's protocol
COMPILED = " with torch.compile"
# The one beta that is compared with the plain loss without a choice on the test set: for CIFAR-10 the paper's advice
# (Section 5.3), for the others the smaller one that it advises there; digits have 39 times fewer images than CIFAR-10.
FIXED_BETA = {"cifar10": 0.9999, "cifar20": 0.99, "cifar100": 0.99, "digits": 0.99, "fashion_mnist": 0.9999}


def fixed_beta(dataset: str) -> float:
    """Return the beta fixed beforehand for a data set; the default is 0.9999."""
    return FIXED_BETA.get(dataset, 0.9999)


def profile_records(results: Path | str, profile: str) -> pd.DataFrame:
    """Read the records of RESULTS/PROFILE/runs that have that profile's budget; warn of others and leave them out.

    The folder "custom" holds runs that belong to no profile.
    """
    records = read_records(Path(results) / profile / "runs")
    strays = records[records["profile"] != profile]
    for name, budget in zip(strays["name"], strays["profile"], strict=True):
        warnings.warn(f"{name} has the budget of profile {budget}, not {profile}: left out", stacklevel=2)
    return with_labels(records[records["profile"] == profile])


def with_labels(records: pd.DataFrame) -> pd.DataFrame:
    """Add a column `label` ("softmax", "focal 0.5", ...), and mark compiled runs, which round differently."""
    labels = [loss_label(loss, gamma) for loss, gamma in zip(records["loss"], records["gamma"], strict=True)]
    device = records["device"].where(~records["compiled"].astype(bool), records["device"] + COMPILED)
    labels = pd.Series(labels, index=records.index, dtype=object)
    return records.assign(label=labels, device=device).reset_index(drop=True)


def conditions(records: pd.DataFrame) -> tuple[str, str, str]:
    """List the seeds, precisions and kinds of hardware of these runs, as text; many seeds in a row as "0 to 4"."""
    hardware = records["device"].str.removesuffix(COMPILED)
    seeds, *others = (sorted(set(values)) for values in (records["seed"], records["precision"], hardware))
    row = len(seeds) > 3 and seeds[-1] - seeds[0] == len(seeds) - 1
    named = f"{seeds[0]} to {seeds[-1]}" if row else ", ".join(map(str, seeds))
    return named, *map(", ".join, others)  # type: ignore[return-value]


def reference(records: pd.DataFrame) -> pd.DataFrame:
    """Select the runs of the paper's own protocol, with every switch as in the paper."""
    return records[~off_protocol(records).any(axis=1)]


def off_protocol(records: pd.DataFrame) -> pd.DataFrame:
    """Return which switches (columns) of which runs (rows) differ from the paper's."""
    factors = records["imbalance_factor"]
    papers = {name: {f: paper_setting(name, f) for f in factors.unique()} for name in PROTOCOL}
    return pd.DataFrame({name: records[name] != factors.map(setting) for name, setting in papers.items()})


def finished(records: pd.DataFrame) -> pd.DataFrame:
    """Select the runs that have a final error; diverged runs are counted and named elsewhere, never averaged."""
    done = records[records["status"] == "finished"]
    return done.assign(error=done["error"].astype(float))


def of_one_precision(records: pd.DataFrame) -> pd.DataFrame:
    """Select the runs that a cell averages: those of the precision with most seeds, float32 in a tie."""
    runs = reference(records)
    seeds = runs.groupby([*CELL, "precision"])["seed"].nunique().rename("seeds").reset_index()
    best = seeds.sort_values(["seeds", "precision"]).groupby(CELL)["precision"].last()  # "float32" sorts last
    return runs[runs["precision"] == runs.join(best.rename("best"), on=CELL)["best"]]


def summaries(rows: pd.DataFrame, by: list[str], value: str, **more: Callable) -> pd.DataFrame:
    """Summarise a column group by group: columns `by`, those of a Summary, and `more`, each computed from the group."""
    found = []
    for key, group in rows.groupby(by, observed=True):
        numbers = summary(group[value].dropna().astype(float))._asdict()
        extra = {name: compute(group) for name, compute in more.items()}
        found.append(dict(zip(by, key, strict=True)) | numbers | extra)
    return pd.DataFrame(found, columns=[*by, *Summary._fields, *more])


def cells(records: pd.DataFrame) -> pd.DataFrame:
    """Summarise the last-epoch error of each cell of the reference protocol, with its diverged runs and its seeds."""
    runs = of_one_precision(records)
    return summaries(runs, CELL, "error", diverged=lambda g: int((g["status"] != "finished").sum()), seeds=seed_list)


def seed_list(runs: pd.DataFrame) -> str:
    """Return the seeds of the finished runs as text, in order: "0 1 2"."""
    return " ".join(map(str, sorted(runs.loc[runs["status"] == "finished", "seed"])))


def pairs(records: pd.DataFrame) -> pd.DataFrame:
    """Return each class-balanced run with the plain run of its seed: plain, class_balanced, difference (points).

    Same seed: same subset, initial weights (last bias apart), batch order and augmentation; and the same precision.
    Negative is better.  `across` marks pairs that ran on two kinds of hardware.
    """
    keys = ["dataset", "label", "imbalance_factor", "epochs", "seed", "precision"]
    runs = finished(reference(records))[[*keys, "beta", "error", "device", "curve"]]
    both = paired(runs[runs["beta"] > 0], runs[runs["beta"] == 0], keys)
    both = both.rename(columns={"error": "class_balanced", "error_base": "plain", "curve_base": "curve_plain"})
    return both.sort_values([*CELL, "seed"], ignore_index=True)


def paired(runs: pd.DataFrame, base: pd.DataFrame, on: list[str]) -> pd.DataFrame:
    """Join runs with the base runs (`_base`) that agree in `on`; add the `difference` in error and `across` devices."""
    both = runs.merge(base, on=on, suffixes=("", "_base"))
    return both.assign(difference=both["error"] - both["error_base"], across=both["device"] != both["device_base"])


def paired_summaries(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Summarise paired differences, a row per group; `across` counts the pairs on two kinds of hardware."""
    return summaries(rows, by, "difference", across=lambda group: int(group["across"].sum()))


def enough(seeds: pd.Series) -> pd.Series:
    """Return a mask of the cells with enough seeds: at least three, or as many as the best cell if none has three."""
    return seeds >= seeds.clip(upper=SEEDS).max()


def complete(rows: pd.DataFrame, value: str = "difference") -> pd.DataFrame:
    """Return a table without gaps, cells x seeds: the cells with `enough` seeds, and the seeds that all of them have.

    So a loss with one seed does not hide three seeds of another, and a further seed of one loss excludes no other.
    The seed is the unit of every interval: losses of one seed share their subset, so average over cells first.
    """
    wide = rows.pivot_table(index=CELL, columns="seed", values=value)  # averages precisions
    return wide[enough(wide.notna().sum(axis=1))].dropna(axis=1)
