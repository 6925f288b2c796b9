"""The front page's answers follow from the evidence: short, and other where the evidence is other."""

import pytest
from report_records import record, write

from replication.experiments.plan import PLAN
from replication.report.analysis import published as paper
from replication.report.analysis.profile import read_profiles
from replication.report.claims.answers import answers, scope, verdict, which_beta, wrong_or_loose
from replication.report.claims.evidence import Evidence
from replication.report.claims.finding import BETTER, UNDECIDED, WORSE, Finding

CORNERS = ((0.0, {}), (0.9999, {}), (0.9999, dict(weights="uniform_scaled")), (0.9999, dict(reduction="weighted_mean")))


def evidence(folder, change=-3.0):
    """Plans A and B, and the short study's 2 x 2 at imbalance 100: class-balanced runs differ by `change`."""
    runs = [record(30 + (change + 0.1 * e.seed) * (e.beta > 0), "paper", **fields(e)) for e in PLAN["A"] + PLAN["B"]]
    small = [
        record(48 - 5 * (not switch and b > 0) + 7 * ("weights" in switch) + 0.1 * s, beta=b, seed=s, **switch)
        for b, switch in CORNERS
        for s in range(3)
    ]
    write(write(folder, "paper", runs), "cpu", small)
    return Evidence(profiles=read_profiles(folder))


def fields(e):
    names = ("dataset", "imbalance_factor", "loss", "gamma", "beta", "seed", "reweight_from")
    return {name: getattr(e, name) for name in names}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return evidence(tmp_path_factory.mktemp("r"))


@pytest.fixture(scope="module")
def found(measured):
    """The seven answers with these runs and without any."""
    return answers(measured), answers(Evidence())


def test_seven_answers_of_six_words_or_fewer(found):
    for seven in found:
        assert len(seven) == 7 and all(0 < len(a.answer.split()) <= 6 for a in seven)
        assert all("nan" not in f"{a.paper} {a.ours}" for a in seven)


def test_the_answer_on_cifar10_follows_the_runs(found, tmp_path):
    worse = answers(evidence(tmp_path, 3.0))[1]
    assert [a[1].answer for a in found] == ["Yes, in 2 of 2 columns", "Not run yet"] and worse.answer == "No"
    assert worse.paper == "-0.1 to -3.2"


def test_more_columns_that_are_worse_than_better_are_no_yes():
    better, worse, undecided = (Finding("", word) for word in (BETTER, WORSE, UNDECIDED))
    cases = [better, better, worse], [better, worse, worse], [undecided]
    assert [verdict(case) for case in cases] == ["Yes, in 2 of 3 columns", "No", "Undecided"]


def test_the_method_s_changes_are_those_of_one_method(tmp_path):
    """The best on each set are two methods, of 6 and 4.5 points; the lower mean is deferred re-weighting's."""
    gain = {"cifar10": dict(softmax=5, balanced_softmax=6), "cifar100": dict(softmax=4.5, balanced_softmax=3)}
    runs = []
    for e in PLAN["B"]:
        other = e.loss != "softmax" or e.reweight_from > 0
        runs += [record(50 - other * gain[e.dataset][e.loss] + 0.1 * e.seed, "paper", **fields(e))]
    write(tmp_path, "paper", runs)
    method = answers(Evidence(profiles=read_profiles(tmp_path)))[6]
    assert method.ours == "-5.0 CIFAR-10, -4.5 CIFAR-100 (3 seeds)" and method.answer == "It depends on the data"


def test_re_balancing_or_a_smaller_loss(found):
    assert [a[4].answer.split(";")[0] for a in found] == ["Re-balancing", "Not run yet"]


def test_beta_advice_from_the_printed_cells():
    """Figures 8 to 10, counted by hand: 25 of 25 at 0.999 and 0.9999; 24 of 25 at 0.99; 18 of 25 at 0.99."""
    advice = {b["dataset"]: b for b in which_beta()}
    assert advice["CIFAR-10"]["hurt"] == "-" and "0.99 (24)" in advice["CIFAR-20"]["helped"]
    assert "0.99 (18)" in advice["CIFAR-100"]["helped"] and "0.9999: +11.2" in advice["CIFAR-100"]["hurt"]


def test_where_the_paper_is_loose_depends_on_its_numbers():
    assert len(wrong_or_loose(Evidence())) == 2
    maps = paper.heat_maps()
    assert len(wrong_or_loose(Evidence(heat_maps=maps.assign(error=maps["error"] - 9 * (maps["beta"] == 0.999))))) == 1


def test_scope_counts_records(measured):
    rows = scope(measured).set_index("study")
    assert rows["records"].to_dict() == {"short training": 12, "full protocol": len(PLAN["A"] + PLAN["B"])}
    assert rows["wall hours"].to_dict()["short training"] == "1.2"  # twelve runs of 360 seconds
    assert scope(Evidence()).empty
