"""Each rule is fed evidence that flips it: a verdict that cannot change is no verdict."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from report_records import record, write

from replication.report import claims, paper
from replication.report.claims import CLAIMS, judge
from replication.report.measured import profile_records
from replication.report.verdicts import Evidence, Finding, by_interval, by_signs, together
from replication.theory import covering
from replication.theory.effective_number import class_balanced_weights, effective_number
from replication.training.experiment import BETAS

RULES = {(claim.id, rule.kind): rule for claim in CLAIMS for rule in claim.rules}
R, C, I, N = "replicated", "contradicted", "inconclusive", "not measured"


def verdict(key, evidence=None):
    return RULES[key].decide(evidence or Evidence()).verdict


def test_every_claim_has_a_place_and_a_rule_in_words():
    ids = [f"T{i}" for i in range(1, 7)] + [f"L{i}" for i in range(1, 5)] + ["P1", "P2"]
    ids += [f"R{i}" for i in range(1, 9)] + ["S1", "S2", "S3"]
    assert [claim.id for claim in CLAIMS] == ids
    assert all(c.place and c.statement and c.rules and all(r.words and r.kind in claims.KINDS for r in c.rules) for c in CLAIMS)


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


@pytest.mark.parametrize(("parts", "expected"), [([R, R], R), ([R, C], C), ([R, I], I), ([R, N], I), ([N, N], N), ([], N)])
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
    """PROTOCOL.md: torch's mean multiplies the gradient by 1.60, 3.72, 5.85, 9.54 at imbalance 10, 50, 100, 200."""
    from replication.report.theory_rules import average_weight

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


def duplicates(**volumes):
    """Ten classes; N by augmentation or data set, with intervals of 10 % each way."""
    rows = [
        {"dataset": d, "class_name": str(c), "augmentation": a, "radius": 1.0, "N": v + c, "N_low": 0.9 * v, "N_high": 1.1 * v}
        for (d, a), v in volumes["cells"].items()
        for c in range(10)
    ]
    return Evidence(near_duplicates=pd.DataFrame(rows))


@pytest.mark.parametrize(("with_crops", "expected"), [(500, R), (990, I), (2000, C)])
def test_augmentation_makes_n_smaller(with_crops, expected):
    cells = {("cifar10", "none"): 1000, ("cifar10", "crop and flip"): with_crops}
    assert verdict(("T5", "simulation"), duplicates(cells=cells)) == expected
    assert verdict(("T5", "simulation")) == N


@pytest.mark.parametrize(("fine", "expected"), [(500, R), (1000, I), (2000, C)])
def test_fine_grained_sets_have_a_smaller_n(fine, expected):
    cells = {("cifar10", "none"): 1000, ("cifar100", "none"): fine}
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
    "R7": (C, lambda r: 50.0 if r.beta == 0 else 50 - r.imbalance_factor / 10, R),
}


@pytest.mark.parametrize("key", PUBLISHED)
def test_published_rules(key):
    now, change, then = PUBLISHED[key]
    assert verdict((key, "published")) == now
    assert verdict((key, "published"), changed_maps(change)) == then


def test_the_exception_is_named():
    """CLAIMS.md: 23.28 -> 23.36 stands against R4, sigmoid at 0.999 against R5."""
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


# Runs ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path):
    """Records of three seeds: rows of (fields, error); noise of a tenth of a point."""

    def read(*cells, seeds=3, **common):
        rng = np.random.default_rng(0)
        made = [record(error + rng.normal(0, 0.1), seed=s, **common | fields) for fields, error in cells for s in range(seeds)]
        return Evidence(records=profile_records(write(tmp_path, "cpu", made), "cpu"))

    return read


def cell(error, beta=0.0, factor=100.0, loss="softmax", dataset="cifar10"):
    return dict(beta=beta, imbalance_factor=factor, loss=loss, dataset=dataset), error


def test_without_records_runs_are_not_measured(tmp_path):
    empty = profile_records(tmp_path, "cpu")
    for key, rule in RULES.items():
        if key[1] == "runs":
            assert rule.decide(Evidence()).verdict == rule.decide(Evidence(records=empty)).verdict == N


def test_the_smoke_profile_decides_no_claim(tmp_path):
    made = [record(e, profile="smoke", seed=s, beta=b, imbalance_factor=10) for s in range(3) for b, e in ((0.0, 20), (0.99, 10))]
    seen = Evidence(records=profile_records(write(tmp_path, "smoke", made), "smoke"))
    assert all(rule.decide(seen).verdict == N for key, rule in RULES.items() if key[1] == "runs")


@pytest.mark.parametrize(("error", "seeds", "expected"), [(35, 3, R), (45, 3, C), (40, 3, I), (35, 2, I)])
def test_r1_improves_at_the_fixed_beta(runs, error, seeds, expected):
    assert verdict(("R1", "runs"), runs(cell(40), cell(error, 0.9999), seeds=seeds)) == expected


@pytest.mark.parametrize(("error", "expected"), [(35, R), (45, C), (40, I)])
def test_r2_sigmoid_and_focal_against_softmax(runs, error, expected):
    assert verdict(("R2", "runs"), runs(cell(40), cell(error, loss="sigmoid"))) == expected


@pytest.mark.parametrize(("error", "expected"), [(35, R), (38.5, C), (37, I)])
def test_r3_best_beta(runs, error, expected):
    cells = [cell(40, 0.9), cell(38, 0.99), cell(37, 0.999), cell(error, 0.9999)]
    assert verdict(("R3", "runs"), runs(*cells)) == expected


def test_r3_needs_all_four_betas(runs):
    assert verdict(("R3", "runs"), runs(cell(40, 0.9), cell(38, 0.99), cell(35, 0.9999))) == N


@pytest.mark.parametrize(("errors", "expected"), [((39, 38, 37, 36), R), ((39, 36, 37, 38), I), ((41, 38, 37, 36), C), ((39, 38), I)])
def test_r4_always_improves_more_with_larger_beta(runs, errors, expected):
    cells = [cell(40, factor=50), *(cell(e, b, 50) for e, b in zip(errors, BETAS[1:], strict=False))]
    assert verdict(("R4", "runs"), runs(*cells)) == expected


@pytest.mark.parametrize(("errors", "expected"), [((55, 55, 58), R), ((55, 57, 58), C), ((55, 55), I), ((55, 55, 56), I)])
def test_r5_cifar100(runs, errors, expected):
    cells = [cell(56, factor=50, dataset="cifar100")]
    cells += [cell(e, b, 50, dataset="cifar100") for e, b in zip(errors, BETAS[2:], strict=False)]
    assert verdict(("R5", "runs"), runs(*cells)) == expected


@pytest.mark.parametrize(("errors", "expected"), [((35, 45, 45), R), ((45, 45, 45), C), ((35,), I)])
def test_r6_which_beta_for_which_set(runs, errors, expected):
    cells = [c for d, e in zip(("cifar10", "cifar20", "cifar100"), errors, strict=False) for c in
             (cell(40, 0.9, dataset=d), cell(e, 0.9999, dataset=d))]  # fmt: skip
    assert verdict(("R6", "runs"), runs(*cells)) == expected


@pytest.mark.parametrize(("gains", "expected"), [((1, 3, 5), R), ((5, 3, 1), C), ((3, 3, 3), I), ((1, 3), N)])
def test_r7_gain_grows(runs, gains, expected):
    cells = [c for f, g in zip((10, 50, 100), gains, strict=False) for c in (cell(40, factor=f), cell(40 - g, 0.9999, f))]
    assert verdict(("R7", "runs"), runs(*cells)) == expected


def test_l4_the_same_error_at_imbalance_1(tmp_path):
    made = [record(6.5, seed=s, beta=b, imbalance_factor=1) for s in range(2) for b in (0.0, 0.99)]
    seen = Evidence(records=profile_records(write(tmp_path, "cpu", made), "cpu"))
    assert verdict(("L4", "runs"), seen) == R
    off = seen.records.assign(error=seen.records["error"] + 0.01 * (seen.records["beta"] > 0))
    assert verdict(("L4", "runs"), Evidence(records=off)) == C


def curve(after):
    """Test error 45 up to the drop at epoch 24 of 30, then these at 26, 28 and 30."""
    errors = [45.0] * 12 + list(after)
    return [{"epoch": 2 * i + 2, "learning_rate": 0.1, "training_loss": 1.0, "error": e} for i, e in enumerate(errors)]


@pytest.mark.parametrize(("slow", "usual", "expected"), [((30, 31, 32), (30, 30, 30), R), ((30, 29, 28), (30, 30, 30), C),
                                                        ((30, 31, 32), (30, 32, 34), C)])  # fmt: skip
def test_p1_rise_after_the_drop(tmp_path, slow, usual, expected):
    made = []
    for s in range(3):
        jitter = np.array([0, 0, s / 10])
        made += [record(30, seed=s, curve=curve(np.array(slow) + jitter), drop_factor=0.1), record(30, seed=s, curve=curve(usual))]
    assert verdict(("P1", "runs"), Evidence(records=profile_records(write(tmp_path, "cpu", made), "cpu"))) == expected


@pytest.mark.parametrize(("zero", "prior", "expected"), [(6, 0, R), (0, 0, C), (3, 2, I)])
def test_p2_unstable_start(tmp_path, zero, prior, expected):
    made = []
    for s in range(6):
        for bias, count in (("zero", zero), ("prior", prior)):
            losses = curve([30] * 3)
            losses[1]["training_loss"] = 2.0 if s < count else 0.5
            losses[2]["training_loss"] = 0.4
            losses[3:] = [row | {"training_loss": 0.3} for row in losses[3:]]
            made.append(record(30, seed=s, loss="sigmoid", last_bias=bias, curve=losses))
    seen = Evidence(records=profile_records(write(tmp_path, "cpu", made), "cpu"))
    assert verdict(("P2", "runs"), seen) == expected


def test_p2_counts_a_diverged_run_as_unstable(tmp_path):
    made = [record(30, seed=s, loss="sigmoid") for s in range(6)]
    made += [
        replace(record(30, seed=s, loss="sigmoid", last_bias="zero", status="diverged"), error=None, best_error=None)
        for s in range(6)
    ]
    assert verdict(("P2", "runs"), Evidence(records=profile_records(write(tmp_path, "cpu", made), "cpu"))) == R


def test_large_scale_claims_wait_for_their_runs():
    assert verdict(("S1", "runs")) == verdict(("S3", "runs")) == N


# The table ----------------------------------------------------------------------------------------------------------


def test_judge_gives_one_row_a_claim_and_kind_and_wide_one_a_claim():
    verdicts = judge(Evidence())
    assert len(verdicts) == len(RULES) and set(verdicts["verdict"]) <= {R, C, I, N}
    table = claims.wide({"cpu": verdicts, "paper": verdicts})
    assert len(table) == 23 and list(table.columns)[-2:] == ["runs (cpu)", "runs (paper)"]
    assert table.set_index("id").loc["T4", ["exact", "simulation", "runs (cpu)"]].tolist() == ["-", N, "-"]
