"""Which method today, on the same seeds; and how the change depends on the length of training."""

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis.comparison import length_of_training
from replication.report.analysis.methods import methods
from replication.report.analysis.profile import Profile
from replication.report.analysis.statistics import SEEDS
from replication.report.claims.finding import interval_word
from replication.report.tables.table import Table, budget, interval, number, signed, spread


def methods_table(profile: Profile) -> Table:
    """Methods at imbalance 100 that are measured: error, paired change, error by shot group, cost, the literature."""
    data = methods(profile)
    data = data[data["n"] > 0]
    rows = [
        {
            "data set": paper.TITLES[r["dataset"]],
            "method": r["method"],
            "error": spread(r),
            "change": _change(r),
            "word": _word(r),
            "head / medium / tail": " / ".join(number(r[group], 1) for group in ("many", "medium", "few")),
            "literature": _literature(r),
            "cost": r["cost"],
        }
        for r in data.to_dict("records")
    ]
    text = (
        f"{budget(profile, profile.records[profile.records['imbalance_factor'] == 100])} Imbalance 100, error in "
        "percent; change: minus plain cross-entropy, points, paired by seed, minus is better. Head, medium and tail: "
        "error over classes of more than 100, 20 to 100 and fewer than 20 training images. Literature: errors that "
        "later papers and repositories print, which differ in protocol."
    )
    columns = ["data set", "method", "error", "change", "word", "head / medium / tail", "literature", "cost"]
    columns = [c for c in columns if profile.name == "paper" or c != "literature"]  # sizes of other budgets differ
    shown = pd.DataFrame(rows, columns=columns)
    return Table("methods", "Which method today", text, shown, data, profile.name)


def _change(r: dict) -> str:
    if not r["change_n"] > 0:
        return "-"
    return f"{signed(r['change'])}{interval(r['change_low'], r['change_high'])} (n = {r['change_n']:.0f})"


def length_table(profiles: dict[str, Profile]) -> Table:
    """Class-balanced minus plain after 30, 100 and 200 epochs of ResNet-8, imbalance 100."""
    data = length_of_training(profiles)
    rows = [
        {
            "data set": paper.TITLES[r["dataset"]],
            "epochs": r["epochs"],
            "plain": number(r["plain"]),
            f"class-balanced {r['beta']:g}": number(r["balanced"]),
            "change": spread(r | {"mean": r["change"]}, sign=True),
            "could be shown": number(r["detectable"]),
        }
        for r in data.to_dict("records")
    ]
    text = "ResNet-8, softmax, imbalance 100; error in percent, change in points, paired by seed, minus is better."
    return Table(
        "length_of_training", "How the change depends on the length of training", text, pd.DataFrame(rows), data
    )


def _word(r: dict) -> str:
    if not r["change_n"] > 0:
        return "-"
    return interval_word(r["change_low"], r["change_high"], int(r["change_n"]), SEEDS)


def _literature(r: dict) -> str:
    low, high = number(r["published_low"], 1), number(r["published_high"], 1)
    return low if low == high else f"{low} to {high}"
