"""Rules on our runs: each is fed records that flip its verdict."""

from dataclasses import replace

import numpy as np
import pytest
from report_records import record, write

from replication.report.claims import CLAIMS
from replication.report.measured import profile_records
from replication.report.verdicts import CONTRADICTED as C
from replication.report.verdicts import INCONCLUSIVE as I
from replication.report.verdicts import NOT_MEASURED as N
from replication.report.verdicts import REPLICATED as R
from replication.report.verdicts import Evidence
from replication.training.experiment import BETAS

RULES = {(claim.id, rule.kind): rule for claim in CLAIMS for rule in claim.rules}


def verdict(key, evidence=None):
    return RULES[key].decide(evidence or Evidence()).verdict


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


@pytest.mark.parametrize(
    ("errors", "expected"), [((39, 38, 37, 36), R), ((39, 36, 37, 38), I), ((41, 38, 37, 36), C), ((39, 38), I)]
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
    cells = [c for d, e in zip(("cifar10", "cifar20", "cifar100"), errors, strict=False) for c in
             (cell(40, 0.9, dataset=d), cell(e, 0.9999, dataset=d))]  # fmt: skip
    assert verdict(("R6", "runs"), runs(*cells)) == expected


@pytest.mark.parametrize(("gains", "expected"), [((1, 3, 5), R), ((5, 3, 1), C), ((3, 3, 3), I), ((1, 3), N)])
def test_r7_gain_grows(runs, gains, expected):
    cells = [
        c for f, g in zip((10, 50, 100), gains, strict=False) for c in (cell(40, factor=f), cell(40 - g, 0.9999, f))
    ]
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


@pytest.mark.parametrize(("slow", "usual", "expected"), [((30, 31, 32), (30, 30, 30), R),
                                                        ((30, 29, 28), (30, 30, 30), C),
                                                        ((30, 31, 32), (30, 32, 34), C)])  # fmt: skip
def test_p1_rise_after_the_drop(tmp_path, slow, usual, expected):
    made = []
    for s in range(3):
        jitter = np.array([0, 0, s / 10])
        made += [
            record(30, seed=s, curve=curve(np.array(slow) + jitter), drop_factor=0.1),
            record(30, seed=s, curve=curve(usual)),
        ]
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
    assert {verdict((key, "large-scale runs")) for key in ("S1", "S2", "S3")} == {N}
