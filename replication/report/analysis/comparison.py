"""Compare measured cells with the paper's: Table 2, Figures 8 to 10, a forest plot's rows; and lengths of training."""

from itertools import product

import pandas as pd

from replication.experiments.grids import IMBALANCE_FACTORS
from replication.report.analysis import published as paper
from replication.report.analysis.measured import cells, complete, enough, fixed_beta, paired_summaries, summaries
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import Summary, summary

FACTORS = (*IMBALANCE_FACTORS, 1.0)
ENTRY = ["dataset", "row", "imbalance_factor"]  # what names an entry of Table 2
LOWEST = "class-balanced, lowest"
MEASURED = ["mean", "sd", "n", "low", "high", "diverged", "seeds"]
UNMEASURED = {"n": 0, "diverged": 0, "seeds": ""}  # of a cell without runs; its other numbers are NaN


def table2_rows(records: pd.DataFrame) -> pd.DataFrame:
    """Return Table 2, one row per data set, row of the table and imbalance factor, published beside measured.

    Rows: the five plain losses; "class-balanced, lowest": the lowest of the class-balanced cells with enough seeds
    (three, or the most that any has), picked on the test set as the paper does, with the number of cells but without an
    interval, which would not be valid after a pick; "CB <loss>": at the one beta fixed beforehand, without a pick.
    """
    table2, ours = paper.table2(), cells(records)
    balanced = table2["row"] == "class_balanced"
    plain_at_one = table2[~balanced & (table2["imbalance_factor"] == 1)]
    printed = _entries(pd.concat([paper.heat_maps(), plain_at_one]), table2[balanced])["error"].rename("published")
    measured = _entries(ours, _lowest(ours)).reindex(columns=[*MEASURED, "pick"])
    wanted: list[tuple] = []
    for dataset in [*paper.TABLE2_SETS, *sorted(set(records["dataset"]) - set(paper.TABLE2_SETS))]:
        names = [*paper.LABELS, LOWEST, *(f"CB {label}, beta {fixed_beta(dataset):g}" for label in paper.LABELS)]
        wanted += product([dataset], names, FACTORS)
    table = pd.DataFrame(index=pd.MultiIndex.from_tuples(wanted, names=ENTRY)).join(printed).join(measured)
    return table.reset_index().fillna(UNMEASURED | {"pick": ""}).astype({"n": int, "diverged": int})


def _entries(frame: pd.DataFrame, lowest: pd.DataFrame) -> pd.DataFrame:
    """Return the plain cells, those at the fixed beta and the lowest ones, indexed by `ENTRY`."""
    kept = frame[frame["beta"].isin([0.0]) | (frame["beta"] == frame["dataset"].map(fixed_beta))]
    names = [f"CB {cell.label}, beta {cell.beta:g}" if cell.beta else cell.label for cell in kept.itertuples()]
    return pd.concat([kept.assign(row=names), lowest.assign(row=LOWEST)]).set_index(ENTRY)


def _lowest(ours: pd.DataFrame) -> pd.DataFrame:
    """Return the lowest class-balanced cell that has enough seeds; at imbalance 1 all betas are one loss."""
    ours = ours[(ours["beta"] > 0) & (ours["imbalance_factor"] > 1)]
    ours = ours[ours.groupby(["dataset", "imbalance_factor"])["n"].transform(enough).astype(bool)]
    best = paper.lowest(ours, "mean")
    picks = [f"{r.label}, beta {r.beta:g}, lowest of {r.of}" for r in best.itertuples()]
    return best.assign(pick=picks, low=float("nan"), high=float("nan"))


def heat_map_cells(profile: Profile, dataset: str) -> pd.DataFrame:
    """Return a heat map's 125 cells, published and measured, with differences to plain (ours paired by seed)."""
    cell = ["label", "beta", "imbalance_factor"]
    here, changes = (f[f["dataset"] == dataset].set_index(cell) for f in (profile.cells, profile.paired_cells))
    frame = here[[]].assign(published=float("nan"), published_difference=float("nan"))
    if dataset in paper.HEAT_MAPS:
        printed = paper.heat_map(dataset)
        to_plain = paper.difference_to_plain(printed).set_index(cell)["difference"].rename("published_difference")
        frame = printed.set_index(cell)[["error"]].rename(columns={"error": "published"}).join(to_plain)
    differences = changes[["mean", "low", "high", "n"]].add_prefix("difference_")
    table = frame.join(here[MEASURED]).join(differences).reset_index()
    return table.fillna(UNMEASURED | {"difference_n": 0}).astype({"n": int, "diverged": int, "difference_n": int})


def forest(profile: Profile) -> pd.DataFrame:
    """Return class-balanced minus plain at the beta fixed beforehand, one row per column of Table 2 or CIFAR-20.

    The mean over the losses that all columns of a data set share, if they share any, else over the column's own; one
    value per seed.  Columns: dataset, imbalance_factor, beta, labels, values (by seed) and those of a summary.
    """
    rows, both = [], profile.pairs
    both = both[both["beta"] == both["dataset"].map(fixed_beta)]
    both = both.query("label in @paper.LABELS and dataset in @paper.HEAT_MAPS and imbalance_factor > 1")
    for dataset, of_set in both.groupby("dataset"):
        columns = {factor: complete(group).droplevel([0, 2, 3]) for factor, group in of_set.groupby("imbalance_factor")}
        shared = set.intersection(*(set(table.index) for table in columns.values()))
        for factor, table in sorted(columns.items(), reverse=True):
            labels = tuple(label for label in paper.LABELS if label in (shared or table.index))
            values = table.loc[list(labels)].mean()
            row = dict(dataset=dataset, imbalance_factor=factor, beta=fixed_beta(dataset), labels=labels, values=values)
            rows.append(row | summary(values)._asdict())
    return pd.DataFrame(rows, columns=["dataset", "imbalance_factor", "beta", "labels", "values", *Summary._fields])


def length_of_training(profiles: dict[str, Profile]) -> pd.DataFrame:
    """Return class-balanced (0.9999) minus plain after 30, 100 and 200 epochs, paired by seed, and the mean errors.

    ResNet-8, softmax, imbalance 100 (plan C); 30 epochs are the profile cpu, 100 and 200 the profile length.
    shift_*: this difference minus that after the shortest training (shift_first), paired by seed; missing for that.
    """
    keys = ["dataset", "epochs", "beta"]
    wanted = "label == 'softmax' and imbalance_factor == 100 and beta == 0.9999 and dataset in @paper.TABLE2_SETS"
    found = [profiles[name].pairs.query(wanted) for name in ("cpu", "length") if name in profiles]
    if not any(map(len, found)):
        return pd.DataFrame()
    both = pd.concat(found)
    shortest = both["epochs"] == both.groupby("dataset")["epochs"].transform("min")
    first = both[shortest].groupby(["dataset", "seed"])["difference"].mean().rename("first")
    later = both[~shortest].join(first, on=["dataset", "seed"]).eval("shift = difference - first")
    shift = summaries(later, keys, "shift", first=lambda group: group["first"].mean())
    means = both.groupby(keys, as_index=False)[["plain", "class_balanced"]].mean()
    means = means.merge(paired_summaries(both, keys).drop(columns="across"), on=keys)
    return means.merge(shift.rename(columns=lambda c: c if c in keys else f"shift_{c}"), "left", keys)
