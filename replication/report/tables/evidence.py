"""The tables that the paper does not have: paired differences, luck of the best of 20, controls, error per class."""

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis import selection
from replication.report.analysis.ablations import controls, parts_of_the_gain
from replication.report.analysis.measured import fixed_beta, paired_cells, per_class, reference
from replication.report.analysis.statistics import SEEDS, expected_minimum
from replication.report.tables.table import Table, across, caption, number, p_value, signed, spread

NEGATIVE = "Differences in points of error on the test set, last epoch, paired by seed; negative is better."


def paired_table(records: pd.DataFrame, profile: str) -> Table:
    """Class-balanced minus plain for every cell that has both, with interval and exact p-values."""
    data = paired_cells(records)
    shown = [
        {"data set": paper.TITLES[r["dataset"]], "imbalance": f"{r['imbalance_factor']:g}", "loss": r["label"],
         "beta": f"{r['beta']:g}", "class-balanced minus plain": spread(r, sign=True),
         "p, sign test": p_value(r["p_sign"]),
         "p, sign flips": p_value(r["p_permutation"])}
        for r in data.to_dict("records")
    ]  # fmt: skip
    text = caption(
        reference(records), profile, NEGATIVE, across(data),
        "Mean ± sd (n pairs) [95 % t-interval]; exact two-sided p-values: n pairs cannot give less than 2^(1-n), 0.25 "
        "for three.",
    )  # fmt: skip
    columns = ["data set", "imbalance", "loss", "beta", "class-balanced minus plain", "p, sign test", "p, sign flips"]
    return Table(
        "paired", "Class-balanced against plain, paired", text, pd.DataFrame(shown, columns=columns), data, profile
    )


def improvements_table() -> Table:
    """From the printed heat maps: at each beta, how many of 25 cells improve, and the mean difference by imbalance."""
    data = selection.improvements()
    by_factor = selection.difference_by_imbalance().set_index(["dataset", "beta", "imbalance_factor"])[
        "mean_difference"
    ]
    factors = sorted(by_factor.index.unique("imbalance_factor"), reverse=True)
    shown = [
        {"data set": paper.TITLES[r["dataset"]], "beta": f"{r['beta']:g}", 
         "cells that improve": f"{r['improved']} of {r['of']}",
         "mean difference": signed(r["mean_difference"])}
        | {f"at {f:g}": signed(by_factor[r["dataset"], r["beta"], f]) for f in factors}
        for r in data.to_dict("records")
    ]  # fmt: skip
    wide = by_factor.unstack().add_prefix("at_").reset_index()
    wide.columns = [c if isinstance(c, str) else f"at_{c:g}" for c in wide.columns]
    text = "From the printed numbers of Figures 8, 9, 10: class-balanced minus plain, points, mean over five losses."
    return Table("published_improvements", "What the paper's own cells say of each beta", text, pd.DataFrame(shown),
                 data.merge(wide, on=["dataset", "beta"]))  # fmt: skip


def published_luck_table() -> Table:
    """How much the best of 20 gains by luck in each column of the printed heat maps."""
    data = selection.published_luck()
    sd, freedom = selection.rerun_sd()
    one = paper.balanced(paper.heat_map("cifar10").query("imbalance_factor == 50"))
    residual = (one["label"].nunique() - 1) * (one["beta"].nunique() - 1)
    shown = [
        {"data set": paper.TITLES[r["dataset"]], "imbalance": f"{r['imbalance_factor']:g}", "noise sd": number(r["sd"]),
         "gain, best of 20 over best plain": signed(r["gain"]),
         "luck of the best of 20": f"{number(r['luck'])} [{signed(r['luck_low'])}, {signed(r['luck_high'])}]",
         "luck if all 20 were equal": number(r["luck_equal"]), "luck over best of 5 plain": number(r["fair_luck"]),
         "gain at the fixed beta": f"{signed(r['fixed_gain'])} ({r['fixed_beta']:g})"}
        for r in data.to_dict("records")
    ]  # fmt: skip
    text = (
        "From printed numbers alone, points of error; positive gains are improvements. Noise sd: residual after the "
        f"effects of loss and beta ({residual} degrees of freedom; holds their interaction too, not what a "
        "column shares). "
        "Luck: parametric bootstrap of the winner's curse around the additive fit, mean [central 95 %]; with equal "
        f"means it is sd x {-expected_minimum(len(one)):.2f}. Gain at the fixed beta: mean over five losses, at the "
        "beta that the paper advises from "
        f"these same cells. Reruns of the authors' code put the sd at {number(sd)} points ({freedom} degrees of "
        "freedom, CIFAR-10 at imbalance 50)."
    )
    return Table(
        "published_luck",
        "How much the best of 20 gains by luck, from the paper's numbers",
        text,
        pd.DataFrame(shown),
        data,
    )


def luck_table(records: pd.DataFrame, profile: str) -> Table:
    """The same from our seed-to-seed spread, and the pick of one seed read on the other seeds."""
    records = records[records["imbalance_factor"] > 1]  # at 1 all betas are one loss, and nothing is picked
    data = selection.measured_luck(records)
    shrink = selection.selected_seeds(records).groupby(["dataset", "imbalance_factor"])["shrinkage"].mean()
    data = (
        data.join(shrink, on=["dataset", "imbalance_factor"])
        if len(data)
        else data.assign(shrinkage=pd.Series(dtype=float))
    )
    shown = [
        {"data set": paper.TITLES[r["dataset"]], "imbalance": f"{r['imbalance_factor']:g}", "cells": r["k"],
         "sd of a run": number(r["sd"]), "luck if all were equal": number(r["luck_equal"]),
         "luck of the best": number(r["luck"]), "best of one seed, on the others": signed(r["shrinkage"]),
         "gain at the fixed beta": _fixed(r)}
        for r in data.to_dict("records")
    ]  # fmt: skip
    columns = ["data set", "imbalance", "cells", "sd of a run", "luck if all were equal", "luck of the best",
               "best of one seed, on the others", "gain at the fixed beta"]  # fmt: skip
    text = caption(
        reference(records), profile,
        f"Points of error; positive gains are improvements. Cells: the class-balanced ones with {SEEDS} seeds, or the "
        "most there are. Sd: of a run, what remains after the effects of cell and seed (what all cells of a seed share "
        "favours none of them). Luck of the best: bootstrap of picking the lowest of these cells on single runs. Best "
        "of one seed, on the others: how much worse the pick of a seed is on the other seeds. Gain at the fixed beta: "
        "mean over the losses with as many seeds, one value per seed, mean ± sd (n seeds) [95 %].",
    )  # fmt: skip
    return Table(
        "luck",
        "How much the best of k gains by luck, from our seeds",
        text,
        pd.DataFrame(shown, columns=columns),
        data,
        profile,
    )


def _fixed(r: dict) -> str:
    row = {
        "mean": r["fixed_gain"],
        "n": r["fixed_n"],
        "low": r["fixed_low"],
        "high": r["fixed_high"],
        "sd": r["fixed_sd"],
    }
    return f"beta {r['fixed_beta']:g}: {spread(row, sign=True)}"


def controls_table(records: pd.DataFrame, profile: str) -> Table:
    """One switch changed at a time: cost against the paper's protocol, and what is left over the plain loss."""
    data = controls(records)
    shown = [
        {"control": r["words"], "loss": _loss(r), "against": r["against"], "control's error": number(r["control"]),
         "the other's": number(r["other"]), "difference": spread(r, sign=True),
         "p, sign flips": p_value(r["p_permutation"])}
        for r in data.to_dict("records")
    ]  # fmt: skip
    columns = ["control", "loss", "against", "control's error", "the other's", "difference", "p, sign flips"]
    text = caption(
        records, profile, across(data),
        "Control minus the other, points; positive: the control is worse. Mean ± sd (n pairs) [95 %].",
    )  # fmt: skip
    return Table(
        "controls", "Controls: one switch at a time", text, pd.DataFrame(shown, columns=columns), data, profile
    )


def parts_table(records: pd.DataFrame, profile: str) -> Table:
    """The gain and its two parts: re-balancing, and the smaller loss."""
    data = parts_of_the_gain(records)
    words = {"gain": "whole gain: plain minus class-balanced", "step": "smaller loss: plain minus uniformly scaled",
             "re-balancing": "re-balancing: uniformly scaled minus class-balanced"}  # fmt: skip
    shown = [
        {
            "loss": _loss(r),
            "part": words[r["part"]],
            "points": spread(r, sign=True),
            "p, sign flips": p_value(r["p_permutation"]),
        }
        for r in data.to_dict("records")
    ]
    text = caption(
        records, profile, across(data),
        "Points of error gained, paired by seed; positive is an improvement. Mean ± sd (n) [95 %]. Uniformly scaled: "
        "each class at the same average weight, so a smaller loss at the same weight decay.",
    )  # fmt: skip
    shown = pd.DataFrame(shown, columns=["loss", "part", "points", "p, sign flips"])
    return Table("parts", "What part of the gain is re-balancing", text, shown, data, profile)


def _loss(r: dict) -> str:
    return f"{r['label']}, beta {r['beta']:g}, imbalance {r['imbalance_factor']:g}"


def per_class_table(records: pd.DataFrame, profile: str) -> Table:
    """Error per class, head to tail: plain, class-balanced."""
    data = per_class(records)
    lines, keys = [], ["dataset", "label", "imbalance_factor", "class_index"]
    for (dataset, label, factor, _), group in data.groupby(keys):
        by_beta = {r["beta"]: r for r in group.to_dict("records")}
        first = next(iter(by_beta.values()))
        lines.append(
            {"data set": paper.TITLES[dataset], "loss": label, "imbalance": f"{factor:g}", "class": first["class_name"],
             "images": first["images"], "plain": spread(by_beta.get(0.0)),
             "class-balanced": spread(by_beta.get(fixed_beta(dataset)))}
        )  # fmt: skip
    columns = ["data set", "loss", "imbalance", "class", "images", "plain", "class-balanced"]
    betas = ", ".join(f"{paper.TITLES[d]} {fixed_beta(d):g}" for d in sorted(set(data["dataset"])))
    text = caption(
        reference(records),
        profile,
        f"Error of each class in percent, mean ± sd (n) [95 %, cut at 0 and 100, near which it is rough]; beta fixed "
        f"beforehand: {betas or 'none'}.",
    )
    return Table(
        "per_class", "Error per class, head to tail", text, pd.DataFrame(lines, columns=columns), data, profile
    )
