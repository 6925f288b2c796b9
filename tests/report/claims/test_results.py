"""Statements on errors, training and large images: the printed words, evidence that turns them, runs that decide."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from report_records import record, write

from replication.experiments.plan import PLAN
from replication.report.analysis import published as paper
from replication.report.analysis.profile import read_profile
from replication.report.claims import ours, results, training
from replication.report.claims.evidence import WEIGHED, Evidence
from replication.report.claims.finding import (
    AWAITING,
    CONSISTENT,
    INCONSISTENT,
    NOT_REPLICATED,
    NOT_RUN,
    PROVED,
    REFUTED,
    REPLICATED,
    UNDECIDED,
)
from replication.report.claims.statements import statements
from replication.report.tables.evidence import claims_table


def changed_maps(change):
    """The printed heat maps with `change(cell) -> error`."""
    maps = paper.heat_maps()
    return Evidence(heat_maps=maps.assign(error=[change(row) for row in maps.itertuples()]))


PRINTED = {  # statement: its word on the printed numbers, and a change of them that turns it
    results.r1: (CONSISTENT, lambda r: r.error + 9 * (r.beta > 0 and r.imbalance_factor == 20)),
    results.r2: (CONSISTENT, lambda r: r.error - 9 * (r.label == "softmax")),
    results.r3: (CONSISTENT, lambda r: r.error - 9 * (r.beta == 0.9)),
    results.r4: (CONSISTENT, lambda r: r.error + 9 * (r.beta == 0.999 and r.label == "sigmoid")),
    results.r5a: (CONSISTENT, lambda r: r.error - 2 * (r.beta == 0.999)),
    results.r5b: (INCONSISTENT, lambda r: r.error - 2 * (r.beta == 0.999)),
    results.r6: (CONSISTENT, lambda r: r.error - 20 * (r.dataset == "cifar20" and r.beta == 0.9999)),
}


@pytest.mark.parametrize("statement", PRINTED, ids=lambda s: s.__name__)
def test_printed_words(statement):
    now, change = PRINTED[statement]
    assert statement(Evidence()).words["print"] == now
    assert statement(changed_maps(change)).words["print"] == (CONSISTENT if now == INCONSISTENT else INCONSISTENT)


def test_seven_of_ten_columns_are_no_more_than_chance():
    """Table 2's plain rows: sigmoid and focal on average below softmax in 7 columns; two-sided binomial p 0.34."""
    assert "7 of 10" in results.r2(Evidence()).bottom_line and "p = 0.34" in results.r2(Evidence()).bottom_line


def test_beta_0_9_can_have_no_effect_on_cifar10_at_imbalance_50():
    """The smallest class has 100 images: 0.9 ** 100 = 2.7e-5."""
    assert results.r4(Evidence()).words["derivation"] == REFUTED
    strong = Evidence(class_balanced_weights=lambda counts, beta: np.arange(len(counts)))
    assert results.r4(strong).words["derivation"] == PROVED


def test_printed_regret_by_hand():
    """Figure 8, lowest error at 0.9999 less the lowest elsewhere: 12.51 against 12.52 at imbalance 10."""
    regret = results.printed_regret(Evidence())
    assert regret[10.0] == pytest.approx(12.51 - 12.52) and regret[200.0] == pytest.approx(31.11 - 31.31)


def test_large_scale_tables():
    assert training.s1(Evidence()).words == {"print": CONSISTENT, "runs": NOT_RUN}
    table = paper.published("table3")
    worse = Evidence(table3=table.assign(inat18_top1=table["inat18_top1"] + 4 * (table["loss"] == "CB Focal")))
    assert training.s1(worse).words["print"] == INCONSISTENT and training.s2(worse).words["print"] == INCONSISTENT
    assert training.s2(Evidence()).words["print"] == CONSISTENT


def test_runs_on_large_images_without_a_plan():
    """CB focal 2 points better on one data set and depth, two seeds: S1 has a word; no seeds are planned of S2, S3."""
    one = dict(paper_run=True, status="finished", size=224, dataset="inat2018", depth=50, curve=[])
    rows = [
        one | dict(seed=s, label=label, beta=beta, error=error + 0.1 * s * beta)
        for s in range(2)
        for label, beta, error in (("softmax", 0.0, 43.0), ("focal 0.5", 0.999, 41.0))
    ]
    e = Evidence(large_scale=pd.DataFrame(rows))
    assert [s(e).words["runs"] for s in (training.s1, training.s2, training.s3)] == [REPLICATED, UNDECIDED, UNDECIDED]


def with_runs(folder, profile, records):
    return Evidence(profiles={profile: read_profile(write(folder, profile, records), profile)})


def planned(letter, error, profile="paper"):
    """A record of each run of a plan letter with `error(experiment)`."""
    return [replace(record(error(e), profile), experiment=e) for e in PLAN[letter]]


@pytest.mark.parametrize(("slope", "word"), [(-3, REPLICATED), (3, NOT_REPLICATED)])
def test_records_of_plan_e_decide_r1(tmp_path, slope, word):
    runs = planned("E", lambda e: 25 + slope * e.beta + 0.1 * e.seed)
    found = results.r1(with_runs(tmp_path, "paper", runs))
    assert found.words["runs"] == word
    mean = found.weighings[1].findings[0]
    assert mean.n == 3 and mean.estimate == pytest.approx(slope * 0.9999)


def test_a_diverged_run_leaves_the_word_waiting(tmp_path):
    runs = planned("E", lambda e: 25 - 3 * e.beta)
    runs[0] = replace(runs[0], status="diverged", error=None)
    assert results.r1(with_runs(tmp_path, "paper", runs)).words["runs"] == AWAITING


def curve(slope, loss):
    return [
        dict(epoch=e, learning_rate=0.1, training_loss=1.0, error=40 + slope * x, test_loss=1 + loss * x)
        for e, x in ((e, max(0, e - 160) / 20) for e in range(2, 201, 2))
    ]


@pytest.mark.parametrize(("rise", "loss", "word"), [(2.0, 0.1, REPLICATED), (-2.0, -0.1, NOT_REPLICATED)])
def test_p1_reads_the_stretch_between_the_drops(tmp_path, rise, loss, word):
    runs = []
    for s, drop in product(range(5), (0.1, 0.01)):
        course = curve((rise + 0.1 * s) * (drop == 0.1), (loss + 0.01 * s) * (drop == 0.1))
        runs.append(record(40, "paper", seed=s, imbalance_factor=200, drop_factor=drop, curve=course))
    assert training.p1(with_runs(tmp_path, "paper", runs)).words["runs"] == word
    assert training.p1(with_runs(tmp_path / "few", "paper", runs[:6])).words["runs"] == AWAITING
    assert training.change_between_drops(runs[0].curve, 200) == pytest.approx(rise)
    assert np.isnan(training.change_between_drops(runs[0].curve[:80], 200))  # evaluated up to epoch 160 alone


def start(rises):
    """Training loss that falls, or rises once at epoch 4 of 30."""
    losses = [1.0, 2.0 if rises else 0.5, 0.4, *[0.3] * 12]
    return [{"epoch": 2 * i + 2, "learning_rate": 0.1, "training_loss": x, "error": 45.0} for i, x in enumerate(losses)]


@pytest.mark.parametrize(("rises", "word"), [(False, UNDECIDED), (True, REPLICATED)])
def test_p2_is_seen_or_not_seen_and_never_contradicted(tmp_path, rises, word):
    runs = [record(30, loss="sigmoid", last_bias="zero", curve=start(rises), seed=s) for s in range(8)]
    assert training.p2(with_runs(tmp_path, "cpu", runs)).words == {"derivation": PROVED, "runs": word}
    assert training.p2(Evidence()).words["runs"] == NOT_RUN


def test_what_counts_as_an_unstable_start():
    """The first quarter of 30 epochs: a loss that rises later does not count, nor a run that diverges later."""
    rows = start(False)
    assert not training.unstable("finished", [*rows[:5], rows[5] | {"training_loss": 9.0}], 30)
    assert training.unstable("diverged", rows[:2], 30) and not training.unstable("diverged", rows[:6], 30)


def test_losses_before_the_first_step():
    """PROTOCOL's two biases: C log 2, and log C - (C - 1) log(1 - 1/C)."""
    assert [round(x, 1) for c in (10, 100) for x in training.initial_losses(c)] == [6.9, 3.3, 69.3, 5.6]


def test_changes_of_table_2_by_hand():
    """The class-balanced error less the lowest of five plain ones, imbalance 10 to 200; Kendall's tau in print."""
    changes = Evidence().selection_bias.set_index(["dataset", "imbalance_factor"])["change"].sort_index()
    assert changes.loc["cifar10"].tolist() == pytest.approx([-0.46, -0.76, -2.55, -4.12, -3.21])
    assert changes.loc["cifar100"].tolist() == pytest.approx([-2.21, -0.64, -1.00, -0.82, -0.61])
    assert "p = 0.083" in ours.growth(Evidence()).weighings[0].findings[0].notes[1]


@pytest.mark.parametrize(("error", "word"), [(lambda f: 40 - 0.02 * f, "better"), (lambda f: 38 + 0.005 * f, "worse")])
def test_growth_with_imbalance_in_the_short_study(tmp_path, error, word):
    runs = [
        record(40 if b == 0 else error(f) + 0.1 * s, beta=b, imbalance_factor=f, seed=s)
        for f, s, b in product((200, 50, 10), range(3), (0.0, 0.9999))
    ]
    assert ours.growth(with_runs(tmp_path, "cpu", runs)).words["runs"] == word


@pytest.mark.parametrize(("rise", "shown"), [(0, "None of 1"), (9, "1 of 1")])
def test_the_effects_that_could_be_seen_stand_beside_none_shown(tmp_path, rise, shown):
    """Changes of rise - 1, rise and rise + 1: sd 1, of which three seeds show 3.26 points."""
    runs = [record(40, beta=0.9999, seed=s) for s in range(3)]
    runs += [record(39 + rise + s, beta=0.9999, seed=s, shortcut="subsample") for s in range(3)]
    said = ours.ports(with_runs(tmp_path, "cpu", runs))
    assert said.bottom_line.startswith(shown) and "3 to 3 points" in said.bottom_line.replace("\n", " ")
    assert said.weighings[0].findings[0].detectable == pytest.approx(3.26, abs=0.01)


@pytest.mark.parametrize(("seeds", "still_open"), [((5,), True), ((5, 4), True), ((5, 5), False)])
def test_the_length_of_training_is_open_until_two_lengths_have_their_seeds(tmp_path, seeds, still_open):
    runs = [
        record(40 - (b > 0), "length", beta=b, seed=s, epochs=e)
        for e, n in zip((100, 200), seeds, strict=False)
        for b in (0, 0.9999)
        for s in range(n)
    ]
    line = ours.length(with_runs(tmp_path, "length", runs)).bottom_line
    assert line.startswith("Open") == still_open and "100 epochs -1.00 (n = 5)" in line


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (-5.0, -3.0, "shrinks, +2.00 [+1.75, +2.25]"),
        (6.0, 4.0, "shrinks, -2.00 [-2.25, -1.75]"),
        (-3.0, -5.0, "grows, -2.00 [-2.25, -1.75]"),
        (-1.0, 2.0, "changes sign, +3.00 [+2.75, +3.25]"),
        (-3.0, -3.1, "no shift shown, -0.10 [-0.35, +0.15]"),
    ],
)
def test_an_effect_shrinks_grows_or_changes_sign_by_the_shift_of_each_seed(tmp_path, first, last, said):
    """The changes themselves spread by 30 points, their shifts by 0.2."""
    runs = [
        record(50 + (b > 0) * (change + 10 * (s - 2) + wobble), "length", beta=b, seed=s, epochs=e)
        for e, change, spread in ((100, first, 0), (200, last, 0.2))
        for b in (0, 0.9999)
        for s in range(5)
        for wobble in (spread * (-1, 1, 0, 1, -1)[s],)
    ]
    assert f"n = 5; {said})" in ours.length(with_runs(tmp_path, "length", runs)).bottom_line


def test_a_method_waits_for_its_planned_seeds(tmp_path):
    runs = planned("B", lambda e: 30 - 2 * (e.loss == "balanced_softmax") + 0.1 * e.seed)
    found = ours.method_changes(with_runs(tmp_path, "paper", runs))["cifar100"]
    assert {f.what: f.word for f in found}["balanced softmax"] == "better" and len(found) == 4
    two = [r for r in runs if r.experiment.seed < 2]
    found = ours.method_changes(with_runs(tmp_path / "two", "paper", two))["cifar10"]
    assert {f.word for f in found} == {AWAITING}


def test_every_statement_has_a_bottom_line_and_a_word_for_each_kind_of_evidence():
    weighed = statements(Evidence())
    ids = [s.id for s in weighed]
    assert len(set(ids)) == len(ids) == len(WEIGHED) == 30 and all(
        s.text and s.bottom_line and s.weighings for s in weighed
    )
    table = claims_table(weighed).data.set_index("id")
    assert table.loc["T4b", ["derivation", "simulation"]].tolist() == ["", NOT_RUN]
    assert table.loc["R4", ["derivation", "print", "runs"]].tolist() == [REFUTED, CONSISTENT, NOT_RUN]
