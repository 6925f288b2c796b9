"""Each rule is fed evidence that flips it: a verdict that cannot change is no verdict."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from report_records import RULES, verdict

from replication.report.analysis import published as paper
from replication.report.claims import registry as claims
from replication.report.claims.evidence import Evidence
from replication.report.claims.published import table2_gains
from replication.report.claims.registry import CLAIMS, judge
from replication.report.claims.theory import t4_simulation, t5_near_duplicates
from replication.report.claims.verdicts import Finding, by_interval, by_signs, together
from replication.report.tables.claims import wide
from replication.theory import covering
from replication.theory.effective_number import class_balanced_weights, effective_number

R, C, I, N = "replicated", "contradicted", "inconclusive", "not measured"  # noqa: E741


def test_every_claim_has_a_place_and_a_rule_in_words():
    ids = [f"T{i}" for i in range(1, 7)] + [f"L{i}" for i in range(1, 5)] + ["P1", "P2"]
    ids += [f"R{i}" for i in range(1, 9)] + ["S1", "S2", "S3"]
    assert [claim.id for claim in CLAIMS] == ids
    assert all(
        c.place and c.statement and c.rules and all(r.words and r.kind in claims.KINDS for r in c.rules) for c in CLAIMS
    )


# Shared rules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "side", "expected"),
    [([-3, -3.1, -2.9], "below", R), ([3, 3.1, 2.9], "below", C), ([-3, 3, 0.1], "below", I), ([-3, -3.1], "below", I),
     ([], "below", N), ([3, 3.1, 2.9], "above", R), ([-3, -3.1, -2.9], "above", C)],
)  # fmt: skip
def test_an_interval_needs_three_seeds_and_a_side(values, side, expected):
    assert by_interval(values, claimed=side).verdict == expected


@pytest.mark.parametrize(("d", "expected"), [([-1] * 6, R), ([1] * 6, C), ([-1] * 5, I), ([-1, 1] * 9, I), ([], N)])
def test_signs_need_the_5_percent_level(d, expected):
    """Five of five give p = 1/16, six of six 1/32."""
    assert by_signs(d).verdict == expected


@pytest.mark.parametrize(
    ("parts", "expected"), [([R, R], R), ([R, C], C), ([R, I], I), ([R, N], I), ([N, N], N), ([], N)]
)
def test_parts_together(parts, expected):
    assert together({str(i): Finding(v, "") for i, v in enumerate(parts)}).verdict == expected


# Exact --------------------------------------------------------------------------------------------------------------


def wrong_number(n, beta):
    """E_n one per cent off."""
    return 1.01 * effective_number(n, beta)


def inverse_frequency(counts, beta):
    """Weights that know no beta."""
    return class_balanced_weights(counts, 1.0)


def no_weights(counts, beta):
    return np.ones(len(counts))


@pytest.mark.parametrize("key", [("T1", "exact"), ("T2", "exact"), ("T3", "exact"), ("R8", "exact")])
def test_exact_rules_on_the_effective_number(key):
    assert verdict(key) == R
    broken = (lambda n, beta: np.asarray(n, float) ** 0.5) if key[0] == "R8" else wrong_number
    assert verdict(key, Evidence(effective_number=broken)) == C


@pytest.mark.parametrize(
    ("key", "now", "other", "then"),
    [("L1", R, inverse_frequency, C), ("L1", R, no_weights, C), ("L2", C, no_weights, R), ("L3", R, no_weights, C),
     ("L4", R, lambda c, b: 2 * np.ones(len(c)), C)],
)  # fmt: skip
def test_exact_rules_on_the_weights(key, now, other, then):
    assert verdict((key, "exact")) == now
    assert verdict((key, "exact"), Evidence(class_balanced_weights=other)) == then


def test_average_weights_are_those_of_the_protocol():
    """Torch's mean multiplies the gradient by 1.60, 3.72, 5.85, 9.54 at imbalance 10, 50, 100, 200."""
    from replication.report.claims.theory import average_weight

    assert [round(1 / average_weight(Evidence(), f), 2) for f in (10, 50, 100, 200)] == [1.60, 3.72, 5.85, 9.54]


# Simulation ---------------------------------------------------------------------------------------------------------


@cache
def simulated():
    return covering.battery()


@pytest.mark.parametrize("key", ["T1", "T2"])
def test_covering_rules(key):
    key = (key, "simulation")
    assert verdict(key) == N
    assert verdict(key, Evidence(verify=simulated())) == R
    assert verdict(key, Evidence(verify=covering.rescored(simulated(), 1.3))) == C  # held against another beta
    assert verdict(key, Evidence(verify=simulated().query("N == 100 and n > 300"))) == I  # too few rows


def test_ends_of_the_covering():
    table = simulated()
    assert verdict(("T3", "simulation"), Evidence(verify=table)) == R
    assert verdict(("T3", "simulation"), Evidence(verify=table.assign(mean=1.02 * table["mean"]))) == C
    assert verdict(("T3", "simulation"), Evidence(verify=table.query("N == 10"))) == N


def test_partial_overlap():
    table = simulated()
    assert verdict(("T4", "simulation"), Evidence(verify=table)) == C  # the mean knows no shape
    assert verdict(("T4", "simulation"), Evidence(verify=covering.rescored(table, 1.3))) == R
    assert verdict(("T4", "simulation"), Evidence(verify=table.query("geometry == 'prototypes'"))) == N
    assert verdict(("T4", "simulation"), Evidence(verify=table.query("geometry == 'prototypes' or d == 1"))) == I


def test_the_spread_told_is_that_of_the_covering_alone():
    """Var = N int (P(both missed) - P(missed)^2) over the separation h, cubes in d = 1 (no probes), N = n = 100."""
    h = (np.arange(200_000) + 0.5) / 200_000  # both sides of 0; beyond 1 two intervals share nothing
    near = 2 * ((1 - (1 + h) / 100) ** 100).mean() + 98 * 0.98**100 - 100 * 0.99**200
    rows = simulated().query("geometry == 'prototypes' or N == 100")
    assert f"to {np.sqrt(100 * near):.2f} (exact, n = N = 100)" in t4_simulation(Evidence(verify=rows)).words


def test_an_edge_is_told_beside_the_torus():
    """Exactly 1 % and 10 % below E_n = 100 in d = 1, 2; simulated 9 / hypot(0.3, 0.4) = 18 standard errors apart."""
    rows = [dict(geometry=law, d=d, N=100.0, n=n, E_n=100.0, exact_mean=mean, mean=mean - 0.5, standard_error=error)
            for law in ("uniform", "bounded") for n in (10, 100)
            for d, mean, error in ((1, 99.0, 0.3), (2, 90.0, 0.4))]  # fmt: skip
    words = t4_simulation(Evidence(verify=simulated())).words
    told = t4_simulation(Evidence(verify=simulated(), departures=pd.DataFrame(rows)))
    assert told.verdict == C and told.words.startswith(words) and "ends" not in words
    assert (
        "1.0 % (d = 1), 10.0 % (d = 2), exact; simulated, d = 1 and d = 2 differ by up to 18.0 standard errors"
        in told.words
    )


def duplicates(**volumes):
    """Ten classes; N by augmentation or data set, with intervals of 10 % each way."""
    rows = [
        {
            "dataset": d,
            "class_name": str(c),
            "augmentation": a,
            "radius": 1.0,
            "N": v + c,
            "N_low": 0.9 * v,
            "N_high": 1.1 * v,
        }
        for (d, a), v in volumes["cells"].items()
        for c in range(10)
    ]
    return Evidence(near_duplicates=pd.DataFrame(rows))


@pytest.mark.parametrize(("with_crops", "expected"), [(500, R), (990, I), (1000, C)])
def test_augmentation_makes_n_smaller(with_crops, expected):
    cells = {("cifar10", "none"): 1000, ("cifar10", "crop and flip"): with_crops}
    assert verdict(("T5", "simulation"), duplicates(cells=cells)) == expected
    assert verdict(("T5", "simulation")) == N


def test_digits_say_nothing_of_augmentation():
    cells = {("digits", "none"): 1000, ("digits", "crop and flip"): 500}
    assert verdict(("T5", "simulation"), duplicates(cells=cells)) == N


def test_an_infinite_estimate_did_not_fall():
    """No near-duplicate with or without copies, in six of ten classes: most did not fall."""
    seen = duplicates(cells={("cifar10", "none"): 1000, ("cifar10", "crop and flip"): 500}).near_duplicates
    seen = seen.astype({"N": float, "N_high": float})
    seen.loc[seen["class_name"].astype(int) < 6, ["N", "N_high"]] = np.inf
    assert verdict(("T5", "simulation"), Evidence(near_duplicates=seen)) == C


def test_every_radius_must_agree_on_augmentation():
    seen = duplicates(cells={("cifar10", "none"): 1000, ("cifar10", "crop and flip"): 500}).near_duplicates
    other = duplicates(cells={("cifar10", "none"): 1000, ("cifar10", "crop and flip"): 990}).near_duplicates
    both = pd.concat([seen, other.assign(radius=2.0)])
    assert verdict(("T5", "simulation"), Evidence(near_duplicates=both)) == I


def test_one_random_copy_is_told_beside_all_copies():
    cells = {("cifar10", "none"): 1000, ("cifar10", "crop and flip"): 990}
    crops = duplicates(cells={("cifar10", "one random crop and flip"): 1500}).near_duplicates
    found = t5_near_duplicates(replace(duplicates(cells=cells), random_crops=crops))
    assert found.verdict == I
    assert "one random copy in place of each image N falls in 0 and rises in 10 of 10" in found.words


@pytest.mark.parametrize(("fine", "expected"), [(500, R), (1000, I), (2000, C)])
def test_fine_grained_sets_have_a_smaller_n(fine, expected):
    """CIFAR-100 against CIFAR-10; CIFAR-20, made of the classes of the first, is told beside it and judges nothing."""
    cells = {("cifar10", "none"): 1000, ("cifar100", "none"): fine}
    seen = duplicates(cells=cells | {("cifar20", "none"): 700})
    told = RULES["T6", "simulation"].decide(seen)
    assert told.verdict == expected and "not judged, against CIFAR-20: radius 1: median N" in told.words
    assert verdict(("T6", "simulation"), duplicates(cells=cells)) == expected
    assert verdict(("T6", "simulation")) == N


# Published ----------------------------------------------------------------------------------------------------------


def changed_maps(change):
    """The printed heat maps with `change(cell) -> error`."""
    maps = paper.heat_maps()
    return Evidence(heat_maps=maps.assign(error=[change(row) for row in maps.itertuples()]))


PUBLISHED = {  # claim: (verdict on the printed numbers, a change, verdict then)
    "R1": (R, lambda r: r.error + 9 * (r.beta > 0), C),
    "R2": (R, lambda r: r.error - 9 * (r.label == "softmax"), C),
    "R3": (R, lambda r: r.error - 9 * (r.beta == 0.9), C),
    "R4": (C, lambda r: r.error - 0.2 * (r.beta == 0.9 and r.label == "focal 0.5"), R),
    "R5": (C, lambda r: r.error - 2 * (r.beta == 0.999), R),
    "R6": (I, lambda r: r.error + 9 * (r.dataset == "cifar20" and r.beta == 0.9999), R),
}


@pytest.mark.parametrize("key", PUBLISHED)
def test_published_rules(key):
    now, change, then = PUBLISHED[key]
    assert verdict((key, "published")) == now
    assert verdict((key, "published"), changed_maps(change)) == then


def changed_gains(gain):
    """Table 2 with `gain(data set, imbalance factor)` between the best plain and the class-balanced row."""
    table = paper.table2()
    best = table[table["row"] != "class_balanced"].groupby(["dataset", "imbalance_factor"])["error"].min()
    new = [best[r.dataset, r.imbalance_factor] - gain(r.dataset, r.imbalance_factor) if r.row == "class_balanced"
           else r.error for r in table.itertuples()]  # fmt: skip
    return Evidence(table2=table.assign(error=new))


@pytest.mark.parametrize(
    ("gain", "expected"),
    [(lambda d, f: f / 100, R), (lambda d, f: 1 / f, C), (lambda d, f: 1 / f if d == "cifar10" else f / 100, C),
     (lambda d, f: f / 100 if d == "cifar10" else 1.0, I)],
)  # fmt: skip
def test_r7_reads_the_gains_of_table_2(gain, expected):
    assert verdict(("R7", "published")) == I
    assert verdict(("R7", "published"), changed_gains(gain)) == expected


def test_r7_gains_by_hand():
    """Table 2: the lowest of five plain errors less the class-balanced one, imbalance 10 to 200."""
    gains = table2_gains(Evidence())
    assert gains.loc["cifar10"].tolist() == pytest.approx([0.46, 0.76, 2.55, 4.12, 3.21])
    assert gains.loc["cifar100"].tolist() == pytest.approx([2.21, 0.64, 1.00, 0.82, 0.61])
    words = RULES["R7", "published"].decide(Evidence()).words
    assert "CIFAR-10: gains 0.46 0.76 2.55 4.12 3.21, Kendall's tau +0.80, exact p = 0.083" in words


def test_r1_needs_every_column_and_more_than_chance():
    """Two columns alone improve by 5 points each, two of two: p = 1/2.  One column that is hurt contradicts."""
    assert verdict(("R1", "published"), Evidence(heat_maps=paper.heat_maps().query("imbalance_factor == 100"))) == I
    hurt = changed_maps(lambda r: r.error + 9 * (r.dataset == "cifar100" and r.imbalance_factor == 20 and r.beta > 0))
    assert verdict(("R1", "published"), hurt) == C
    level = changed_maps(lambda r: r.error + (r.dataset == "cifar100" and r.imbalance_factor == 20 and r.beta > 0))
    assert verdict(("R1", "published"), level) == I


def test_r1_says_how_many_columns_stand_alone():
    assert "in 4 its own 95 % interval leaves out 0" in RULES["R1", "published"].decide(Evidence()).words


def test_the_exception_is_named():
    """Figures 8 and 10: 23.28 -> 23.36 stands against R4, sigmoid at 0.999 against R5."""
    assert "23.28 -> 23.36" in RULES["R4", "published"].decide(Evidence()).words
    assert "sigmoid at 0.999: 55.85 -> 57.15" in RULES["R5", "published"].decide(Evidence()).words


def test_table_rules():
    table2, table3 = paper.table2(), paper.table3()
    other = table2.assign(error=table2["error"] + (table2["row"] == "class_balanced"))
    assert (verdict(("L4", "published")), verdict(("L4", "published"), Evidence(table2=other))) == (R, C)
    worse = table3.assign(inat18_top1=table3["inat18_top1"] + 3 * table3["loss"].str.startswith("CB"))
    for key in ("S1", "S2"):
        assert (verdict((key, "published")), verdict((key, "published"), Evidence(table3=worse.assign(
            inat18_top1=worse["inat18_top1"] + (worse["loss"] == "CB Focal"))))) == (R, C)  # fmt: skip


# The table ----------------------------------------------------------------------------------------------------------


def test_judge_gives_one_row_a_claim_and_kind_and_wide_one_a_claim():
    verdicts = judge(Evidence())
    assert len(verdicts) == len(RULES) and set(verdicts["verdict"]) <= {R, C, I, N}
    table = wide({"cpu": verdicts, "paper": verdicts})
    assert len(table) == 23 and list(table.columns)[-2:] == ["runs (cpu)", "runs (paper)"]
    assert table.set_index("id").loc["T4", ["exact", "simulation", "runs (cpu)"]].tolist() == ["-", N, "-"]
