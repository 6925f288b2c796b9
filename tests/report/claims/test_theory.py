"""Statements on the formula and the weights: each is fed evidence that turns its word."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_records import record, write

from replication.report.analysis.profile import read_profile
from replication.report.claims import loss, theory
from replication.report.claims.evidence import Evidence
from replication.report.claims.finding import (
    CONFIRMED,
    CONSISTENT,
    INCONSISTENT,
    NOT_REPLICATED,
    NOT_RUN,
    PROVED,
    REFUTED,
    REPLICATED,
    UNDECIDED,
)
from replication.theory import covering
from replication.theory.effective_number import class_balanced_weights, effective_number
from replication.theory.wholly_inside import wholly_inside


def wrong_number(n, beta):
    """E_n one per cent off."""
    return 1.01 * effective_number(n, beta)


def inverse_frequency(counts, beta):
    """Weights that know no beta."""
    return class_balanced_weights(counts, 1.0)


def no_weights(counts, beta):
    return np.ones(len(counts))


@pytest.mark.parametrize("statement", [theory.t1, theory.t2, theory.t3, loss.r8])
def test_exact_statements_on_the_effective_number(statement):
    assert statement(Evidence()).words["derivation"] == PROVED
    broken = (lambda n, beta: np.asarray(n, float) ** 0.5) if statement is loss.r8 else wrong_number
    assert statement(Evidence(effective_number=broken)).words["derivation"] == REFUTED


@pytest.mark.parametrize(
    ("statement", "now", "other", "then"),
    [
        (loss.l1, PROVED, inverse_frequency, REFUTED),
        (loss.l1, PROVED, no_weights, REFUTED),
        (loss.l2, REFUTED, no_weights, PROVED),
        (loss.l3, PROVED, no_weights, REFUTED),
        (loss.l4, PROVED, lambda c, b: 2 * np.ones(len(c)), REFUTED),
    ],
)
def test_exact_statements_on_the_weights(statement, now, other, then):
    assert statement(Evidence()).words["derivation"] == now
    assert statement(Evidence(class_balanced_weights=other)).words["derivation"] == then


def test_average_weights_are_those_of_the_protocol():
    """Torch's mean multiplies the gradient by 1.60, 3.72, 5.85, 9.54 and 1.54, 3.26, 4.93, 8.17 (PROTOCOL.md)."""
    for dataset, known in (("cifar10", [1.60, 3.72, 5.85, 9.54]), ("cifar100", [1.54, 3.26, 4.93, 8.17])):
        shrink = [1 / loss.average_weight(Evidence(), dataset, f, 0.9999) for f in (10, 50, 100, 200)]
        assert [round(v, 2) for v in shrink] == known


def covered(table):
    return Evidence(covering={"verify": table})


@pytest.mark.parametrize("statement", [theory.t1, theory.t2])
def test_covering(statement, quick_battery):
    table = quick_battery
    found = [
        covered(table),
        covered(covering.rescored(table, 1.3)),
        covered(table.query("N == 100 and n > 300")),
        Evidence(),
    ]
    assert [statement(e).words["simulation"] for e in found] == [CONFIRMED, REFUTED, UNDECIDED, NOT_RUN]


def test_ends_of_the_covering(quick_battery):
    table = quick_battery
    found = [covered(table), covered(table.assign(mean=1.02 * table["mean"])), covered(table.query("N == 10"))]
    assert [theory.t3(e).words["simulation"] for e in found] == [CONFIRMED, REFUTED, NOT_RUN]


def test_partial_overlap_on_the_torus(quick_battery):
    """The mean knows no shape; held against another N it would."""
    table = quick_battery
    few = table.query("geometry == 'prototypes' or d == 1")
    found = [covered(table), covered(covering.rescored(table, 1.3)), covered(few), Evidence()]
    assert [theory.t4a(e).words["simulation"] for e in found] == [CONFIRMED, REFUTED, UNDECIDED, NOT_RUN]


def test_partial_overlap_wholly_inside_depends_on_the_dimension():
    inside = wholly_inside((1, 2, 6), replicates=20)
    same = inside.assign(share=0.9)
    off = inside.assign(z=9.0)
    found = [Evidence(covering={"wholly_inside": t}) for t in (inside, same, off)]
    assert [theory.t4b(e).words["simulation"] for e in found] == [CONFIRMED, REFUTED, REFUTED]
    assert theory.t4b(Evidence()).words["simulation"] == NOT_RUN


def test_the_rows_of_the_variance_rule_and_the_one_left_out():
    """A fair coin (N = 2, n = 2) has excess kurtosis -2."""
    coin = covering.verify(volume=2, draws=[1, 2, 3], replicates=20_000)
    table = pd.concat([coin, covering.verify(volume=100, draws=[50], replicates=2000)], ignore_index=True)
    assert theory.variances(table) == dict(meet=3, tested=2, left_out=1, least=1000)


def duplicates(cells):
    """Ten classes; N by data set and augmentation, with intervals of 10 % each way."""
    rows = [
        dict(dataset=d, class_name=str(c), augmentation=a, radius=1.0, N=v + c, N_low=0.9 * v, N_high=1.1 * v)
        for (d, a), v in cells.items()
        for c in range(10)
    ]
    return pd.DataFrame(rows)


def near(*frames):
    return Evidence(covering={"near_duplicates": pd.concat(frames)})


@pytest.mark.parametrize(("with_crops", "word"), [(500, CONFIRMED), (990, UNDECIDED), (1000, REFUTED)])
def test_augmentation_makes_n_smaller(with_crops, word):
    table = duplicates({("cifar10", "none"): 1000, ("cifar10", "crop and flip"): with_crops})
    assert theory.t5(near(table)).words["simulation"] == word
    assert theory.t5(near(table.assign(dataset="digits"))).words["simulation"] == NOT_RUN
    other = duplicates({("cifar10", "none"): 1000, ("cifar10", "crop and flip"): 990})
    both = theory.t5(near(table, other.assign(radius=2.0))).words["simulation"]  # every radius must agree
    assert both == UNDECIDED


def test_an_infinite_estimate_did_not_fall():
    """No near-duplicate with or without copies in six of ten classes: most did not fall."""
    seen = duplicates({("cifar10", "none"): 1000, ("cifar10", "crop and flip"): 500}).astype(
        {"N": float, "N_high": float}
    )
    seen.loc[seen["class_name"].astype(int) < 6, ["N", "N_high"]] = np.inf
    assert theory.t5(near(seen)).words["simulation"] == REFUTED


@pytest.mark.parametrize(("fine", "word"), [(500, CONFIRMED), (1000, UNDECIDED), (2000, REFUTED)])
def test_fine_grained_sets_have_a_smaller_n(fine, word):
    """CIFAR-100 against CIFAR-10; CIFAR-20, made of the classes of the first, is reported and decides nothing."""
    cells = {("cifar10", "none"): 1000, ("cifar100", "none"): fine}
    assert theory.t6(near(duplicates(cells))).words["simulation"] == word
    with_20 = theory.t6(near(duplicates(cells | {("cifar20", "none"): 5000})))
    assert with_20.words["simulation"] == word and len(with_20.weighings[0].findings) == 2
    assert theory.t6(Evidence()).words["simulation"] == NOT_RUN


def curve(first, last):
    return [{"epoch": e, "learning_rate": 0.1, "training_loss": x, "error": 30.0} for e, x in ((2, first), (200, last))]


@pytest.mark.parametrize(("balanced", "word"), [((1.0, 0.02), REPLICATED), ((0.5, 0.02), NOT_REPLICATED)])
def test_the_scale_of_the_loss_in_our_runs(tmp_path, balanced, word):
    """Plain 1.5 and 0.02 at the first and last evaluation: the ratio must stay within a factor of 2."""
    runs = [record(30, "paper", curve=curve(1.5, 0.02)), record(28, "paper", beta=0.9999, curve=curve(*balanced))]
    e = Evidence(profiles={"paper": read_profile(write(tmp_path, "paper", runs), "paper")})
    assert loss.l2(e).words["runs"] == word and loss.l2(Evidence()).words["runs"] == NOT_RUN
    assert loss.loss_ratios(e).iloc[0].tolist() == pytest.approx([1.5 / balanced[0], 1.0])


def test_balanced_data(tmp_path):
    """Table 2 at imbalance 1, and a pair of runs that must end alike on one machine, but need not on two."""
    table = Evidence().table2
    other = Evidence(table2=table.assign(error=table["error"] + (table["row"] == "class_balanced")))
    assert [loss.l4(e).words["print"] for e in (Evidence(), other)] == [CONSISTENT, INCONSISTENT]
    cases = [(15.0, "cpu (test)", REPLICATED), (15.1, "cpu (test)", NOT_REPLICATED), (15.1, "another", NOT_RUN)]
    for k, (error, device, word) in enumerate(cases):
        plain, balanced = (record(15.0 if b == 0 else error, beta=b, imbalance_factor=1) for b in (0.0, 0.9999))
        folder = write(tmp_path / str(k), "cpu", [plain, replace(balanced, device=device)])
        assert loss.l4(Evidence(profiles={"cpu": read_profile(folder, "cpu")})).words["runs"] == word
