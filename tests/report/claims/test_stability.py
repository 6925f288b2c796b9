"""Rules on the course of training: each is fed records that flip its verdict."""

from dataclasses import replace
from itertools import product

import pytest
from report_records import record, write

from replication.report.analysis.measured import profile_records
from replication.report.claims.evidence import Evidence
from replication.report.claims.stability import p1_runs, p2_runs, rise_after_drop, unstable
from replication.report.claims.verdicts import CONTRADICTED as C
from replication.report.claims.verdicts import INCONCLUSIVE as I
from replication.report.claims.verdicts import NOT_MEASURED as N
from replication.report.claims.verdicts import REPLICATED as R


def evidence(folder, made, profile):
    return Evidence(records=profile_records(write(folder, profile, made), profile))


# P1: the drop of 0.1 -------------------------------------------------------------------------------------------------


def curve(epochs, between, after=30.0):
    """Test error 45 up to the first drop, from `between[0]` to `between[1]` up to the second, then `after`."""

    def error(epoch):
        if epoch <= 0.8 * epochs:
            return 45.0
        if epoch > 0.9 * epochs:
            return after
        share = (epoch / epochs - 0.8) / 0.1
        return between[0] * (1 - share) + between[1] * share

    return [
        {"epoch": e, "learning_rate": 0.1, "training_loss": 1.0, "error": error(e)} for e in range(2, epochs + 1, 2)
    ]


def drops(folder, slow, usual, profile="paper", after=30.0):
    made, epochs = [], 200 if profile == "paper" else 30
    for s in range(3):
        made.append(record(30, profile, curve(epochs, (slow[0], slow[1] + s / 10), after), seed=s, drop_factor=0.1))
        made.append(record(30, profile, curve(epochs, usual), seed=s))
    return evidence(folder, made, profile)


@pytest.mark.parametrize(
    ("slow", "usual", "expected"),
    [((30, 33), (30, 30), R), ((30, 27), (30, 30), C), ((30, 32), (30, 36), C), ((30, 29.9), (30, 29), I)],
)
def test_p1_rise_between_the_drops(tmp_path, slow, usual, expected):
    assert p1_runs(drops(tmp_path, slow, usual)).verdict == expected


def test_p1_knows_nothing_of_what_follows_the_second_drop(tmp_path):
    """No rise between the drops and a jump of 20 points after the second: contradicted all the same."""
    assert p1_runs(drops(tmp_path, (30, 27), (30, 30), after=50.0)).verdict == C


def test_p1_is_not_measured_with_one_evaluation_between_the_drops(tmp_path):
    """30 epochs drop at 24 and 27: of the evaluations at 26, 28 and 30 only the first lies between."""
    finding = p1_runs(drops(tmp_path, (30, 33), (30, 30), "cpu", after=50.0))
    assert finding.verdict == N and "no two evaluations between the drops in any of 3 runs" in finding.words


def test_p1_with_a_diverged_run(tmp_path):
    seen = drops(tmp_path, (30, 33), (30, 30))
    extra = record(30, "paper", curve(200, (30, 33)), "diverged", seed=7, drop_factor=0.1)
    write(tmp_path, "paper", [replace(extra, error=None)])
    more = Evidence(records=profile_records(tmp_path, "paper"))
    assert p1_runs(seen).verdict == R and p1_runs(more).verdict == I


def test_rise_after_drop_by_hand():
    """Evaluations at 162, 164, ..., 180 lie after the first drop and no later than the second."""
    rows = [{"epoch": e, "error": float(e)} for e in range(2, 201, 2)]
    assert rise_after_drop(rows, 200) == 180 - 162


# P2: the last bias ---------------------------------------------------------------------------------------------------


def start(rises):
    """Training loss that falls, or rises once at epoch 4 of 30."""
    losses = [1.0, 2.0 if rises else 0.5, 0.4, *[0.3] * 12]
    return [{"epoch": 2 * i + 2, "learning_rate": 0.1, "training_loss": x, "error": 45.0} for i, x in enumerate(losses)]


def biases(folder, zero, prior, seeds, losses=("sigmoid", "focal")):
    """`zero` and `prior`: the seeds whose runs with that bias are unstable."""
    made = [
        record(30, seed=s, loss=x, gamma=1.0 if x == "focal" else None, last_bias=bias, curve=start(s in shaky))
        for s in range(seeds)
        for bias, shaky in (("zero", zero), ("prior", prior))
        for x in losses
    ]
    return evidence(folder, made, "cpu")


@pytest.mark.parametrize(
    ("zero", "prior", "seeds", "expected"),
    [(range(6), (), 6, R), (range(5), (), 6, I), ((), (), 6, C), ((), (), 5, I), ((0, 1, 2), (3, 4), 6, I),
     (range(6), range(6), 6, I), ((6,), range(6), 7, I), ((), range(6), 6, C)],
)  # fmt: skip
def test_p2_unstable_start(tmp_path, zero, prior, seeds, expected):
    """McNemar: six seeds that all change one way give p = 1/32, five 1/16."""
    assert p2_runs(biases(tmp_path, zero, prior, seeds)).verdict == expected


def test_p2_counts_seeds_and_not_runs(tmp_path):
    """Three seeds, two losses: six pairs would give p = 1/32; the seeds give 1/4."""
    finding = p2_runs(biases(tmp_path, range(3), (), 3))
    assert finding.verdict == I and "3 of 3 with 0, 0 of 3" in finding.words and "p = 0.25" in finding.words


def test_p2_with_five_seeds_says_what_is_missing(tmp_path):
    finding = p2_runs(biases(tmp_path, range(5), (), 5))
    assert finding.verdict == I and "a verdict needs 6 seeds" in finding.words


def test_p2_speaks_of_sigmoid_and_focal(tmp_path):
    finding = p2_runs(biases(tmp_path, range(6), (), 6, ("sigmoid",)))
    assert finding.verdict == I and finding.words == "of 6 seeds with runs of either none has both sigmoid and focal"
    finding = p2_runs(biases(tmp_path, range(6), (), 1))  # one seed with both, and six with sigmoid
    assert finding.verdict == I and "1 of 1 with 0, 0 of 1" in finding.words


@pytest.mark.parametrize(("evaluations", "expected"), [(0, R), (2, R), (3, C), (14, C)])
def test_p2_counts_a_run_that_diverges_at_the_start_and_not_later(tmp_path, evaluations, expected):
    """The first quarter of 30 epochs ends at 7.5: seen at epoch 2 or 6 it counts, at 8 or 30 it does not."""
    made, losses = [], (dict(loss="sigmoid"), dict(loss="focal", gamma=1.0))
    for s, loss in product(range(6), losses):
        made.append(record(30, seed=s, curve=start(False), **loss))
        lost = record(30, seed=s, last_bias="zero", status="diverged", curve=start(False)[:evaluations], **loss)
        made.append(replace(lost, error=None, best_error=None))
    assert p2_runs(evidence(tmp_path, made, "cpu")).verdict == expected


def test_a_loss_that_rises_later_is_no_unstable_start():
    rows = start(False)
    assert not unstable("finished", [*rows[:5], rows[5] | {"training_loss": 9.0}], 30)
    assert unstable("finished", start(True), 30)
