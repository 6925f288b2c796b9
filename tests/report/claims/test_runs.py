"""Rules on the errors of our runs: each is fed records that flip its verdict."""

from dataclasses import asdict
from functools import cache

import numpy as np
import pandas as pd
import pytest
from report_records import RULES, record, verdict, write

from replication.experiments.grids import BETAS, IMBALANCE_FACTORS
from replication.report.analysis import published as paper
from replication.report.analysis.measured import profile_records, with_labels
from replication.report.claims.evidence import Evidence
from replication.report.claims.verdicts import CONTRADICTED as C
from replication.report.claims.verdicts import INCONCLUSIVE as I
from replication.report.claims.verdicts import NOT_MEASURED as N
from replication.report.claims.verdicts import REPLICATED as R
from replication.report.claims.verdicts import by_interval, together


@pytest.fixture
def runs(tmp_path):
    """Records of three seeds: rows of (fields, error); noise of a tenth of a point."""

    def read(*cells, seeds=3, **common):
        rng = np.random.default_rng(0)
        made = [
            record(error + rng.normal(0, 0.1), seed=s, **common | fields)
            for fields, error in cells
            for s in range(seeds)
        ]
        return Evidence(records=profile_records(write(tmp_path, "cpu", made), "cpu"))

    return read


def cell(error, beta=0.0, factor=100.0, loss="softmax", dataset="cifar10"):
    return dict(beta=beta, imbalance_factor=factor, loss=loss, dataset=dataset), error


FIXED = {"cifar10": 0.9999, "cifar100": 0.99}
COLUMNS = [(dataset, factor) for dataset in FIXED for factor in IMBALANCE_FACTORS]


def gains(error, columns=COLUMNS):
    """Plain at 40 beside class-balanced at the fixed beta, in each of these columns."""
    return [c for d, f in columns for c in (cell(40, factor=f, dataset=d), cell(error, FIXED[d], f, dataset=d))]


def at_each_beta(*errors, factor=100.0, dataset="cifar10"):
    """Plain at 40 beside class-balanced at 0.9, 0.99, 0.999 and 0.9999."""
    cells = [cell(e, b, factor, dataset=dataset) for b, e in zip(BETAS[1:], errors, strict=True)]
    return [cell(40, factor=factor, dataset=dataset), *cells]


def sigmoids(error, columns=COLUMNS[:6]):
    """Softmax at 40 beside sigmoid."""
    return [c for d, f in columns for c in (cell(40, factor=f, dataset=d), cell(error, 0, f, "sigmoid", d))]


def growing(gains, datasets=tuple(FIXED)):
    """Plain at 40, class-balanced below it by these at imbalance 10, 50, 100."""
    return [
        c for d in datasets for f, g in zip((10, 50, 100), gains, strict=False)
        for c in (cell(40, factor=f, dataset=d), cell(40 - g, FIXED[d], f, dataset=d))
    ]  # fmt: skip


def betas(last, factors=IMBALANCE_FACTORS):
    return [cell(e, b, f) for f in factors for b, e in zip(BETAS[1:], (40, 38, 37, last), strict=True)]


def two_betas(*errors):
    """At every imbalance 40 at beta 0.9 and these at 0.9999 on CIFAR-10, -20 and -100."""
    return [
        c for d, e in zip(("cifar10", "cifar20", "cifar100"), errors, strict=False) for f in IMBALANCE_FACTORS
        for c in (cell(40, 0.9, f, dataset=d), cell(e, 0.9999, f, dataset=d))
    ]  # fmt: skip


def test_without_records_runs_are_not_measured(tmp_path):
    empty = profile_records(tmp_path, "cpu")
    for key, rule in RULES.items():
        if key[1] == "runs":
            assert rule.decide(Evidence()).verdict == rule.decide(Evidence(records=empty)).verdict == N


def test_the_smoke_profile_decides_no_claim(tmp_path):
    made = [
        record(e, profile="smoke", seed=s, beta=b, imbalance_factor=10)
        for s in range(3)
        for b, e in ((0.0, 20), (0.99, 10))
    ]
    seen = Evidence(records=profile_records(write(tmp_path, "smoke", made), "smoke"))
    assert all(rule.decide(seen).verdict == N for key, rule in RULES.items() if key[1] == "runs")


@pytest.mark.parametrize(("error", "seeds", "expected"), [(35, 3, R), (45, 3, I), (40, 3, I), (35, 2, I)])
def test_r1_improves_at_the_fixed_beta(runs, error, seeds, expected):
    assert verdict(("R1", "runs"), runs(*gains(error), seeds=seeds)) == expected


@pytest.mark.parametrize(("error", "expected"), [(35, R), (45, C), (40, I)])
def test_r2_sigmoid_and_focal_against_softmax(runs, error, expected):
    assert verdict(("R2", "runs"), runs(*sigmoids(error))) == expected


@pytest.mark.parametrize(
    ("key", "cells", "words"),
    [("R1", gains(35, COLUMNS[:9]), "columns of Table 2 measured: 9, needed: 10"),
     ("R2", sigmoids(35, COLUMNS[:5]), "columns of Table 2 measured: 5, needed: 6"),
     ("R2", sigmoids(45, COLUMNS[:5]), "columns of Table 2 measured: 5, needed: 6"),
     ("R3", betas(35, IMBALANCE_FACTORS[:4]), "imbalance factors measured: 4, needed: 5"),
     ("R6", two_betas(35, 45, 45)[:-2], "imbalance factors measured: 4, needed: 5"),
     ("R7", growing((1, 3, 5), ["cifar10"]), "data sets of Table 2 measured: 1, needed: 2")],
)  # fmt: skip
def test_part_of_what_a_claim_speaks_of_does_not_decide_it(runs, key, cells, words):
    finding = RULES[key, "runs"].decide(runs(*cells))
    assert finding.verdict == I and finding.words.endswith(words)


@pytest.mark.parametrize(("errors", "expected"), [((45, 45, 45, 45), C), ((45, 35, 45, 45), I), ((45, 40, 45, 45), I)])
def test_one_column_contradicts_r1_if_it_is_worse_at_each_beta(runs, errors, expected):
    """The claim is of well-chosen hyperparameters: a beta fixed beforehand may have been the wrong one."""
    assert verdict(("R1", "runs"), runs(*at_each_beta(*errors))) == expected


@cache
def printed_as_runs():
    """The cells of Figures 8 to 10 as if they were ours: three seeds with noise of a rerun's size below theirs, 0.3."""
    cells = pd.concat([paper.heat_maps().assign(seed=seed) for seed in range(3)], ignore_index=True)
    one = with_labels(pd.DataFrame([asdict(record()) | asdict(record().experiment)]))
    frame = one.loc[[0] * len(cells)].reset_index(drop=True).assign(**cells)
    return frame.assign(error=cells["error"] + np.random.default_rng(0).normal(0, 0.3, len(cells)))


@pytest.mark.parametrize("key", [f"R{i}" for i in range(1, 8)])
def test_no_rule_on_runs_contradicts_what_the_rule_on_print_says_of_the_same_numbers(key):
    printed, ours = (RULES[key, kind].decide(Evidence(records=printed_as_runs())) for kind in ("published", "runs"))
    assert {printed.verdict, ours.verdict} != {R, C}, ours.words
    assert ours.verdict != N and not (printed.verdict == I and ours.verdict == C), ours.words


def test_r2_keeps_to_the_settings_that_every_seed_has(tmp_path):
    """Focal, 30 points better, was run on seed 0 alone: it must not stand for that seed beside the others' sigmoid."""
    made = [record(40 + s / 10, seed=s, loss=x) for s in range(3) for x in ("softmax", "sigmoid")]
    made.append(record(10, seed=0, loss="focal", gamma=1.0))
    words = RULES["R2", "runs"].decide(Evidence(records=profile_records(write(tmp_path, "cpu", made), "cpu"))).words
    assert "less the share below (sigmoid) +0.00 in each of 3 seeds, sign test p = 1; in points +0.00" in words


@pytest.mark.parametrize(
    ("key", "cells", "others"),
    [("R2", sigmoids(35), [cell(45, 0, 100, "sigmoid"), cell(40, 0.9, 100), cell(45, 0.9, 100, "sigmoid")]),
     ("R3", betas(35), [cell(e, b, 100, "sigmoid") for b, e in zip(BETAS[1:], (40, 38, 37, 45), strict=True)])],
)  # fmt: skip
def test_a_setting_that_was_begun_holds_the_verdict_until_it_has_the_seeds_of_the_others(
    runs, tmp_path, key, cells, others
):
    """One seed of a loss or beta that says the contrary does not decide, but the rest must not decide without it."""
    assert verdict((key, "runs"), runs(*cells)) == R
    write(tmp_path, "cpu", [record(error, seed=0, **fields) for fields, error in others])
    finding = RULES[key, "runs"].decide(Evidence(records=profile_records(tmp_path, "cpu")))
    assert finding.verdict == I and "settings that have these seeds measured" in finding.words


def test_columns_count_alike_in_r2_however_many_settings_they_hold(runs):
    """Sigmoid 1 point worse in each of six columns, and 8 better at three further betas of one: points near 0."""
    more = [c for b in (0.9, 0.99, 0.999) for c in (cell(40, b, 200), cell(32, b, 200, "sigmoid"))]
    words = RULES["R2", "runs"].decide(runs(*sigmoids(41), *more)).words
    share, points = (5 * 1 + (1 - 3) / 4) / 6, (5 * 1 + (1 - 3 * 8) / 4) / 6
    assert f"(sigmoid) {share:+.2f} in each of 3 seeds, sign test p = 0.25; in points" in words
    assert abs(float(words.split("in points ")[1].split(" [")[0]) - points) < 0.15


def test_r2_counts_settings_as_most_cases_says(runs):
    """Sigmoid 1 point better in five of six columns and 20 worse in the sixth: most cases, if not the mean.

    A share that is alike in every seed has no spread to judge it by, so the mean must not be against it.
    """
    finding = RULES["R2", "runs"].decide(runs(*sigmoids(39, COLUMNS[:5]), *sigmoids(60, COLUMNS[5:6])))
    assert finding.verdict == I and "-0.67 in each of 3 seeds, sign test p = 0.25; in points +2." in finding.words
    assert verdict(("R2", "runs"), runs(*sigmoids(39, COLUMNS[:5]), *sigmoids(41, COLUMNS[5:6]))) == R


@pytest.mark.parametrize(("seeds", "expected"), [(3, I), (5, I), (6, R)])
def test_values_all_alike_are_judged_by_their_signs(seeds, expected):
    """They have no spread, so the t-interval has no width: 1/4 for three, 1/16 for five, 1/32 for six."""
    finding = by_interval([-2.0] * seeds)
    assert finding.verdict == expected and f"-2.00 in each of {seeds} seeds, sign test p = " in finding.words
    assert by_interval([0.0] * seeds).verdict == I
    against, for_it = by_interval([1.0, 1.1, 1.2]), by_interval([-1.0, -1.1, -1.2])
    assert by_interval([-2.0] * seeds, points=against).verdict == expected
    assert by_interval([-2.0] * seeds, points=for_it).verdict == R


def test_r2_has_a_value_a_seed_however_many_pairs_share_a_softmax_run(runs):
    """Four losses beside one softmax run, two seeds: eight pairs, but no more than two seeds."""
    focal = [
        (cell(35, factor=f, dataset=d)[0] | dict(loss="focal", gamma=g), 35)
        for d, f in COLUMNS[:6]
        for g in (0.5, 1.0, 2.0)
    ]
    assert verdict(("R2", "runs"), runs(*sigmoids(35), *focal, seeds=2)) == I
    assert verdict(("R2", "runs"), runs(*sigmoids(35), *focal, seeds=3)) == R


@pytest.mark.parametrize(("error", "expected"), [(35, R), (40, C), (37, I)])
def test_r3_best_beta(runs, error, expected):
    assert verdict(("R3", "runs"), runs(*betas(error))) == expected


def test_r3_needs_all_four_betas(runs):
    assert verdict(("R3", "runs"), runs(cell(40, 0.9), cell(38, 0.99), cell(35, 0.9999))) == N


@pytest.mark.parametrize(
    ("errors", "expected"),
    [((39, 38, 37, 36), R), ((39, 36, 36.05, 35), I), ((39, 34, 37, 36), C), ((43, 38, 37, 36), C), ((39, 38), I)],
)
def test_r4_always_improves_more_with_larger_beta(runs, errors, expected):
    cells = [cell(40, factor=50), *(cell(e, b, 50) for e, b in zip(errors, BETAS[1:], strict=False))]
    assert verdict(("R4", "runs"), runs(*cells)) == expected


@pytest.mark.parametrize(
    ("errors", "expected"), [((55, 55, 58), R), ((55, 57, 58), C), ((55, 55), I), ((55, 55, 56), I)]
)
def test_r5_cifar100(runs, errors, expected):
    cells = [cell(56, factor=50, dataset="cifar100")]
    cells += [cell(e, b, 50, dataset="cifar100") for e, b in zip(errors, BETAS[2:], strict=False)]
    assert verdict(("R5", "runs"), runs(*cells)) == expected


@pytest.mark.parametrize(("errors", "expected"), [((35, 45, 45), R), ((45, 45, 45), C), ((35,), I)])
def test_r6_which_beta_for_which_set(runs, errors, expected):
    assert verdict(("R6", "runs"), runs(*two_betas(*errors))) == expected


def test_r6_counts_imbalance_factors_alike(runs):
    """0.9999 one point better at each factor, but for sigmoid and focal, at 100 alone, 10 worse: not +1.7."""
    more = [
        c
        for loss in ("sigmoid", "focal")
        for b, e in ((0.9, 30), (0.9999, 40))
        for c in [cell(e, b, loss=loss) if loss == "sigmoid" else (cell(e, b, loss=loss)[0] | {"gamma": 1.0}, e)]
    ]
    words = RULES["R6", "runs"].decide(runs(*two_betas(39), *more)).words
    assert abs(float(words.split(") ")[1].split(" [")[0]) - (4 * -1 + (-1 + 20) / 3) / 5) < 0.2


def test_r4_and_r5_are_of_the_losses_of_figure_5(runs):
    """Focal 1.0, which the figure lacks, must not speak for it."""
    focal = [(fields | dict(loss="focal", gamma=1.0), e) for fields, e in at_each_beta(45, 46, 47, 48, factor=50)]
    assert verdict(("R4", "runs"), runs(*at_each_beta(39, 38, 37, 36, factor=50), *focal)) == R
    assert verdict(("R4", "runs"), runs(*focal)) != C


def test_r7_does_not_call_growing_what_falls_at_its_end(runs):
    """1, 3, 9 and then 6 points: a line through them rises."""
    cells = [c for d in FIXED for f, g in zip((10, 50, 100, 200), (1, 3, 9, 6), strict=True)
             for c in (cell(40, factor=f, dataset=d), cell(40 - g, FIXED[d], f, dataset=d))]  # fmt: skip
    finding = RULES["R7", "runs"].decide(runs(*cells))
    assert finding.verdict == I and finding.words.count("but less at 200 than before it") == 2


def test_r7_compares_a_loss_with_itself(runs):
    """A loss run at imbalance 100 alone, as in the heat map's rows, must not bend the slope of the others."""
    alone = [cell(90, loss="sigmoid"), cell(40, 0.9999, loss="sigmoid")]
    finding = RULES["R7", "runs"].decide(runs(*growing((3, 3, 3)), *alone))
    assert finding.verdict == I and "measured" not in finding.words


@pytest.mark.parametrize(("gains", "expected"), [((1, 3, 5), R), ((5, 3, 1), I), ((3, 3, 3), I), ((1, 3), N)])
def test_r7_gain_grows(runs, gains, expected):
    assert verdict(("R7", "runs"), runs(*growing(gains))) == expected


@pytest.mark.parametrize(("best", "expected"), [((5, 3, 1), C), ((1, 3, 5), I)])
def test_r7_is_contradicted_by_gains_that_shrink_at_each_beta(runs, best, expected):
    cells = [
        c for f, g, b in zip((10, 50, 100), (5, 3, 1), best, strict=True)
        for c in at_each_beta(40 - b, *(40 - g,) * 3, factor=f)
    ]  # fmt: skip
    assert verdict(("R7", "runs"), runs(*cells)) == expected


def test_l4_the_same_error_at_imbalance_1(tmp_path):
    made = [record(6.5, seed=s, beta=b, imbalance_factor=1) for s in range(2) for b in (0.0, 0.99)]
    seen = Evidence(records=profile_records(write(tmp_path, "cpu", made), "cpu"))
    assert verdict(("L4", "runs"), seen) == R
    off = seen.records.assign(error=seen.records["error"] + 0.01 * (seen.records["beta"] > 0))
    assert verdict(("L4", "runs"), Evidence(records=off)) == C
    elsewhere = off.assign(device=off["device"].where(off["beta"] == 0, "another"))
    assert verdict(("L4", "runs"), Evidence(records=elsewhere)) == N  # which may round otherwise


# A run that diverged -------------------------------------------------------------------------------------------------

HOLDS = {  # rule: cells that replicate it
    "R1": gains(35),
    "R2": sigmoids(35),
    "R3": betas(35),
    "R4": [cell(40, factor=50), *(cell(e, b, 50) for e, b in zip((39, 38, 37, 36), BETAS[1:], strict=True))],
    "R5": [cell(e, b, 50, dataset="cifar100") for e, b in ((56, 0.0), (53, 0.99), (53, 0.999), (59, 0.9999))],
    "R6": two_betas(35, 45, 45),
    "R7": growing((1, 3, 5)),
}  # fmt: skip


def diverge(evidence, seed, beta):
    """The same records, but the runs of that seed and beta diverged."""
    frame = evidence.records
    away = (frame["seed"] == seed) & (frame["beta"] == beta)
    assert away.any()
    return Evidence(records=frame.assign(status=frame["status"].where(~away, "diverged"),
                                         error=frame["error"].where(~away, None)))  # fmt: skip


@pytest.mark.parametrize("key", HOLDS)
def test_a_diverged_member_keeps_a_rule_from_replicated(runs, key):
    """Three good seeds are left, enough for the interval; the fourth may have been the bad one."""
    seen = runs(*HOLDS[key], seeds=4)
    assert verdict((key, "runs"), seen) == R
    for beta in sorted(set(seen.records["beta"])):
        finding = RULES[key, "runs"].decide(diverge(seen, 3, beta))
        assert finding.verdict == I and "diverged and in no mean: " in finding.words


def test_how_many_diverged_is_said_and_contradicted_may_stand(runs):
    cells = at_each_beta(45, 45, 45, 45)
    seen = runs(*cells, *((fields | {"loss": "sigmoid"}, e) for fields, e in cells), seeds=4)
    finding = RULES["R1", "runs"].decide(diverge(seen, 3, 0.0))
    assert finding.verdict == C and finding.words.endswith("diverged and in no mean: 2 of the pairs")


def test_a_diverged_run_that_bears_on_another_claim_caps_nothing(runs):
    """R1 is judged at the beta fixed beforehand: a run at 0.9 that diverged is no member of its pairs."""
    seen = runs(*gains(35), cell(38, 0.9), seeds=3)
    assert verdict(("R1", "runs"), diverge(seen, 1, 0.9)) == R


# Precision, several parts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", HOLDS)
def test_runs_of_unlike_precision_are_not_compared(runs, key):
    """With one side of a comparison in bfloat16 and the other in float32 there is nothing to compare."""
    frame = runs(*HOLDS[key]).records
    odd = frame["loss"] == "softmax" if key == "R2" else frame["beta"] == 0.9999
    mixed = frame.assign(precision=frame["precision"].where(~odd, "bfloat16 autocast"))
    assert verdict((key, "runs"), Evidence(records=mixed)) in (N, I)
    assert verdict((key, "runs"), Evidence(records=frame.assign(precision="bfloat16 autocast"))) == R


def test_one_part_of_ten_against_needs_more_than_its_own_5_percent():
    """p = 0.02 alone contradicts; of ten parts it is what chance gives one time in five."""
    worse = by_interval([1.0, 1.3, 0.8], "a")
    assert worse.verdict == C and 0.005 < worse.p < 0.05
    better = {str(i): by_interval([-1.0, -1.1, -0.9]) for i in range(9)}
    assert together({"x": worse}).verdict == C
    ten = together({"x": worse} | better)
    assert ten.verdict == I and f"p = {worse.p:.2g}, times 10 parts" in ten.words
    assert together({"x": by_interval([10.0, 10.1, 10.2])} | better).verdict == C


def test_all_parts_together_need_no_correction():
    """Replicated: every part at its own 5 %, were they a hundred."""
    part = by_interval([-1.0, -1.3, -0.8])
    assert 0.005 < part.p < 0.05 and together({str(i): part for i in range(100)}).verdict == R


def test_parts_not_measured_are_not_counted():
    worse = by_interval([1.0, 1.3, 0.8])
    unmeasured = {str(i): by_interval([]) for i in range(9)}
    assert together({"x": worse} | unmeasured).verdict == C


def test_large_scale_claims_wait_for_their_runs():
    assert {verdict((key, "large-scale runs")) for key in ("S1", "S2", "S3")} == {N}
