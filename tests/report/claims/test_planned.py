"""The rules decide: fed with runs drawn around the paper's printed numbers, and around no effect at all."""

from dataclasses import replace

import numpy as np
import pytest

from replication.experiments.experiment import Experiment
from replication.report.analysis.statistics import t_interval
from replication.report.claims.finding import (
    ALIKE,
    AWAITING,
    BETTER,
    NOT_REPLICATED,
    NOT_RUN,
    REPLICATED,
    UNDECIDED,
    WORSE,
    word_of,
)
from replication.report.claims.planned import RULES, contrast, errors_of, planned_seeds, printed_error

DRAWS = 2000
# R2 and the caption of Figure 5 rest on printed differences of 0.05 to 0.6 points, which no planned number of seeds can
# show; their words may stay undecided and must not be false.
DECIDABLE = ("R1", "R3", "R4", "R5a", "R6")
RNG = np.random.default_rng(0)
SD = RNG.uniform(0.4, 0.9, DRAWS)  # of a run, points; a draw has one


def draw(true_error) -> dict:
    """All runs of the rules at their seeds, DRAWS errors each, around `true_error(experiment)`."""
    runs = {
        replace(e, seed=seed)
        for rule in RULES.values()
        for c in (*rule.parts, *rule.beside)
        for e in (*c.plus, *c.minus)
        for seed in c.seeds
    }
    return {run: true_error(run) + SD * RNG.standard_normal(DRAWS) for run in sorted(runs, key=lambda e: e.name)}


def words(name: str, errors: dict) -> np.ndarray:
    return RULES[name].word([np.stack(list(c.values(errors).values()), -1) for c in RULES[name].parts])


@pytest.fixture(scope="module")
def print_is_true():
    return draw(printed_error)


@pytest.fixture(scope="module")
def no_effect():
    return draw(lambda e: 30.0)


@pytest.mark.parametrize("name", DECIDABLE)
def test_with_the_planned_seeds_the_printed_truth_is_found_in_80_percent_of_draws(print_is_true, name):
    found = words(name, print_is_true)
    assert (found == REPLICATED).mean() >= 0.8 and (found == NOT_REPLICATED).mean() <= 0.05


@pytest.mark.parametrize("name", RULES)
def test_without_an_effect_a_false_word_is_rare(no_effect, name):
    """Not more than 5 % and its sampling error; that 0.9999 is as good as any beta (R3) is then the truth."""
    found = words(name, no_effect)
    assert (found == (NOT_REPLICATED if name == "R3" else REPLICATED)).mean() <= 0.05 + 0.01
    for c in RULES[name].parts:
        word = word_of(*t_interval(np.stack(list(c.values(no_effect).values()), -1)))
        assert np.isin(word, (BETTER, WORSE)).mean() <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / DRAWS)


def test_looking_after_every_seed_would_be_wrong_more_often_and_the_plan_forbids_it():
    """Stopping at the first word, from two seeds to five, is wrong in about 13 % of draws; waiting in 5 %."""
    differences = RNG.standard_normal((20_000, 5))
    shown = [np.isin(word_of(*t_interval(differences[:, :n])), (BETTER, WORSE)) for n in range(2, 6)]
    assert shown[-1].mean() == pytest.approx(0.05, abs=0.01)
    assert np.any(shown, axis=0).mean() > 0.1
    rule, errors = RULES["R4"], {}
    for seed in range(4):  # four of five seeds, with an effect that anyone can see
        errors |= {replace(e, seed=seed): 30.0 - 5 * (e.beta > 0) for c in rule.parts for e in (*c.plus, *c.minus)}
    word, findings, _ = rule.decide(errors)
    assert word == AWAITING and {f.word for f in findings} == {AWAITING} and findings[0].n == 4


def test_seeds_beyond_the_plan_change_nothing():
    part = RULES["R1"].parts[0]
    runs = {replace(e, seed=s): 30.0 + e.beta + s for e in (*part.plus, *part.minus) for s in range(6)}
    assert part.finding(runs).n == 3 and sorted(part.values(runs)) == [0, 1, 2]


def test_nothing_run_is_not_run():
    word, findings, clause = RULES["R5a"].decide({})
    assert word == NOT_RUN and not clause and {f.word for f in findings} == {NOT_RUN}


@pytest.mark.parametrize(("rivals", "word"), [((-1.0, -0.2), REPLICATED), ((-1.0, 2.0), NOT_REPLICATED)])
def test_regret_is_that_against_the_best_other_beta(rivals, word):
    """Each rival's differences are within 0.1 of those: at most 0.5 worse, or clearly worse than one of them."""
    from replication.report.claims.planned import regret_word

    assert regret_word(np.array([[r - 0.1, r, r + 0.1] for r in rivals])) == word
    assert regret_word(np.array([[-2.0, 1.0, 2.0]])) == UNDECIDED


def test_a_contrast_is_a_difference_of_means_by_seed_and_its_print_that_of_the_figures():
    """R4's trend by hand: half of 0.9999 minus 0.99, three losses, Figure 8 at imbalance 50."""
    trend = RULES["R4"].parts[-1]
    assert trend.of(printed_error) == pytest.approx(((21.95 + 21.04 + 20.76) - (23.50 + 23.18 + 22.88)) / 3 / 2)
    runs = {replace(e, seed=s): 20.0 + s for s in range(5) for e in trend.plus}
    runs |= {replace(e, seed=s): 26.0 + 3 * s for s in range(5) for e in trend.minus}
    assert list(trend.values(runs).values()) == [-3, -4, -5, -6, -7]
    assert RULES["R6"].parts[1].of(printed_error) == pytest.approx((68.80 - 56.30 + 49.13 - 44.98) / 2)


def test_planned_seeds_are_those_of_the_plan():
    assert [planned_seeds("cifar10", 0.9999, f) for f in (200, 100, 50, 20)] == [3, 3, 3, 0]
    assert [len(c.seeds) for c in RULES["R1"].parts + RULES["R4"].parts] == [3] * 3 + [5] * 4
    row = dict(letters="A", dataset="cifar100", imbalance="50", betas="0.99", losses="softmax", words="none")
    with pytest.raises(ValueError, match="letters must be of a plan that has these runs, got 'A'"):
        contrast(row | dict(against_betas="0", against_losses="softmax"))


def test_errors_of_records_are_found_by_experiment(tmp_path):
    from report_records import record, write

    from replication.report.analysis.profile import read_profile

    one = record(22.0, "paper", beta=0.9999, seed=2)
    runs = [one, record(24.0, "paper", status="diverged", seed=2), replace(record(25.0, "paper"), precision="bfloat16")]
    errors = errors_of(read_profile(write(tmp_path, "paper", runs), "paper").records)
    assert errors == {one.experiment: 22.0, Experiment(): 25.0}
    assert word_of(-0.4, 0.4) == ALIKE and errors_of(read_profile(tmp_path / "none", "paper").records) == {}
