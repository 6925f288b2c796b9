"""Records of one profile -> cells (mean, spread, n) and pairs (class-balanced against plain, same seed)."""

import math
import warnings
from functools import partial
from pathlib import Path

import pandas as pd

from replication.experiments import experiment
from replication.experiments.experiment import PROFILES, loss_label, paper_setting
from replication.experiments.records import read_records
from replication.report.analysis.statistics import SEEDS, paired, summary

CELL = ["dataset", "label", "beta", "imbalance_factor"]
PROTOCOL = ("base_learning_rate", "weight_decay", *experiment.SWITCHES)  # what a run of the paper's protocol keeps
# The one beta that is compared with the plain loss without a choice on the test set: for CIFAR-10 the paper's advice
# (Section 5.3), for the others the smaller one that it advises there; digits have 39 times fewer images than CIFAR-10.
FIXED_BETA = {"cifar10": 0.9999, "cifar20": 0.99, "cifar100": 0.99, "digits": 0.99, "fashion_mnist": 0.9999}


def fixed_beta(dataset: str) -> float:
    """The beta fixed beforehand for a data set: 0.9999 if nothing else is said."""
    return FIXED_BETA.get(dataset, 0.9999)


def profile_records(results: Path | str, profile: str) -> pd.DataFrame:
    """The records of RESULTS/PROFILE/runs that have that profile's budget, with the loss's `label`.

    A run of another budget that strayed into the folder is left out and named in a warning: results of different
    profiles never share a table.  The folder "custom" takes any run that is of no profile.
    """
    records = read_records(Path(results) / profile / "runs")
    strays = records[records["profile"] != profile]
    for name, budget in zip(strays["name"], strays["profile"], strict=True):
        warnings.warn(f"{name} has the budget of profile {budget}, not {profile}: left out", stacklevel=2)
    return with_labels(records[records["profile"] == profile])


def with_labels(records: pd.DataFrame) -> pd.DataFrame:
    """The records with a column `label` ("softmax", "focal 0.5", ...), and `device` telling compiled runs apart.

    Compiled code rounds differently, as another machine does.
    """
    labels = [loss_label(loss, gamma) for loss, gamma in zip(records["loss"], records["gamma"], strict=True)]
    device = records["device"].where(~records["compiled"].astype(bool), records["device"] + " with torch.compile")
    labels = pd.Series(labels, index=records.index, dtype=object)
    return records.assign(label=labels, device=device).reset_index(drop=True)


def profiles_with_records(results: Path | str) -> list[str]:
    """The profiles that have records under RESULTS, in the order smoke, cpu, length, paper."""
    return [profile for profile in PROFILES if any((Path(results) / profile / "runs").glob("*.json"))]


def reference(records: pd.DataFrame) -> pd.DataFrame:
    """The runs of the paper's own protocol: no switch away from it."""
    return records[~off_protocol(records).any(axis=1)]


def off_protocol(records: pd.DataFrame) -> pd.DataFrame:
    """Which of the switches (columns) of which runs (rows) are not the paper's."""
    factors = records["imbalance_factor"]
    return pd.DataFrame({name: records[name] != factors.map(partial(paper_setting, name)) for name in PROTOCOL})


def finished(records: pd.DataFrame) -> pd.DataFrame:
    """The runs that ended with an error; diverged ones are counted and named elsewhere, never averaged."""
    done = records[records["status"] == "finished"]
    return done.assign(error=done["error"].astype(float))


def of_one_precision(records: pd.DataFrame) -> pd.DataFrame:
    """The reference runs that a cell's mean is over: in the precision with most of its seeds, float32 if as many."""
    runs = reference(records)
    seeds = runs.groupby([*CELL, "precision"])["seed"].nunique().rename("seeds").reset_index()
    best = seeds.sort_values(["seeds", "precision"]).groupby(CELL)["precision"].last()  # "float32" sorts last
    return runs[runs["precision"] == runs.join(best.rename("best"), on=CELL)["best"]]


def cells(records: pd.DataFrame) -> pd.DataFrame:
    """One row per cell of the reference protocol: mean, sd, n, low, high of the last-epoch error; diverged; seeds."""
    rows = []
    for key, group in of_one_precision(records)[[*CELL, "seed", "status", "error"]].groupby(CELL, sort=True):
        done = group[group["status"] == "finished"]
        head = dict(zip(CELL, key, strict=True)) | summary(done["error"])._asdict()
        seeds = " ".join(map(str, sorted(done["seed"])))
        rows.append(head | {"diverged": len(group) - len(done), "seeds": seeds})
    return pd.DataFrame(rows, columns=[*CELL, "mean", "sd", "n", "low", "high", "diverged", "seeds"])


def pairs(records: pd.DataFrame) -> pd.DataFrame:
    """One row per class-balanced run with the plain run of its seed: plain, class_balanced, difference (points).

    Same seed: same subset, initial weights (last bias apart), batch order and augmentation; and the same precision.
    Negative is better.
    """
    runs, keys = finished(reference(records)), ["dataset", "label", "imbalance_factor", "seed", "precision"]
    plain, balanced = (
        runs[of_kind].rename(columns={"error": name, "device": f"{name}_device"})
        for name, of_kind in (("plain", runs["beta"] == 0), ("class_balanced", runs["beta"] > 0))
    )
    joined = balanced.merge(plain[[*keys, "plain", "plain_device"]], on=keys)
    joined = joined.assign(difference=joined["class_balanced"] - joined["plain"])
    columns = [
        *CELL,
        "seed",
        "precision",
        "plain",
        "class_balanced",
        "difference",
        "plain_device",
        "class_balanced_device",
    ]
    return joined[columns].sort_values([*CELL, "seed"]).reset_index(drop=True)


def paired_cells(records: pd.DataFrame) -> pd.DataFrame:
    """One row per class-balanced cell: its paired differences, and how many pairs ran on two kinds of hardware."""
    rows = [
        dict(zip(CELL, key, strict=True))
        | paired(g["plain"], g["class_balanced"])._asdict()
        | {"across": int((g["plain_device"] != g["class_balanced_device"]).sum())}
        for key, g in pairs(records).groupby(CELL, sort=True)
    ]
    return pd.DataFrame(rows, columns=[*CELL, "mean", "sd", "n", "low", "high", "detectable", "across"])


def settings_by_seeds(values: pd.Series) -> pd.DataFrame:
    """A row per setting, a column per seed: every setting that was begun, NaN if it lacks a seed.

    `values` has the setting, "seed" and "precision", over which a setting is averaged, in its index.
    """
    levels = [name for name in values.index.names if name != "precision"]
    return values.dropna().groupby(level=levels).mean().unstack("seed")


def enough(seeds: pd.Series) -> pd.Series:
    """Which of these numbers of seeds are enough: three, or the most there are if that is fewer."""
    return seeds >= seeds.clip(upper=SEEDS).max()


def complete(wide: pd.DataFrame) -> pd.DataFrame:
    """Of `settings_by_seeds`, the settings that have `enough` seeds, and the seeds that all of those have: no gaps.

    So a loss begun with one seed does not hide three of another, and a further seed of one does not drop the others.
    """
    return wide[enough(wide.notna().sum(axis=1))].dropna(axis=1)


def per_seed(values: pd.Series) -> pd.Series:
    """One value per seed, the unit of every interval: the mean over the settings that are `complete`.

    Seeds share their subset between losses, so losses are not independent repeats: average them, then compare seeds.
    """
    return complete(settings_by_seeds(values)).mean()


def differences(pair_rows: pd.DataFrame) -> pd.Series:
    """The differences of `pairs`, as `settings_by_seeds` and `per_seed` take them."""
    return pair_rows.set_index([*CELL, "seed", "precision"])["difference"]


def wall_hours(records: pd.DataFrame) -> float:
    """Hours that the runs took, summed; runs that shared a machine each count in full."""
    return math.fsum(records["wall_seconds"]) / 3600
