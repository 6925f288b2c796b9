"""Words of intervals, majorities, and what a sentence must hold."""

import math

import numpy as np
import pytest

from replication.report.analysis.statistics import summary
from replication.report.claims.finding import (
    ALIKE,
    AWAITING,
    BETTER,
    CONSISTENT,
    NOT_REPLICATED,
    NOT_RUN,
    REPLICATED,
    UNDECIDED,
    WORSE,
    Finding,
    majority,
    of_seeds,
    sentence,
    tally,
)


@pytest.mark.parametrize(
    ("values", "planned", "word"),
    [
        ([-3, -3.1, -2.9], 3, BETTER),
        ([3, 3.1, 2.9], 3, WORSE),
        ([-3, 3, 0.1], 3, UNDECIDED),
        ([0.1, -0.1, 0.05], 3, ALIKE),
        ([-3, -3.1, -2.9], 5, AWAITING),
        ([-3.0], 0, AWAITING),
        ([-3, -3.1], 0, BETTER),
        ([], 3, NOT_RUN),
    ],
)
def test_words_of_seeds(values, planned, word):
    found = of_seeds("x", values, planned)
    assert found.word == word and found.n == len(values)


def test_a_finding_holds_the_numbers_of_its_seeds():
    values = [-3.0, -2.0, -1.5]
    found, s = of_seeds("x", values, 3, printed=-3.24), summary(values)
    assert (found.estimate, found.low, found.high, found.printed) == (s.mean, s.low, s.high, -3.24)
    assert found.detectable == pytest.approx(3.2640435 * s.sd)


@pytest.mark.parametrize(
    ("words", "claimed", "word"),
    [
        ([BETTER, BETTER, UNDECIDED], [BETTER] * 3, REPLICATED),
        ([BETTER, BETTER, WORSE], [BETTER] * 3, UNDECIDED),
        ([WORSE, ALIKE, BETTER], [BETTER] * 3, NOT_REPLICATED),
        ([BETTER, WORSE], [BETTER, WORSE], REPLICATED),
        ([BETTER, UNDECIDED], [BETTER] * 2, UNDECIDED),
        ([ALIKE, ALIKE], [BETTER, WORSE], NOT_REPLICATED),
    ],
)
def test_the_majority_of_parts(words, claimed, word):
    assert majority(words, claimed) == word
    assert (majority(np.array([words, words]), claimed) == word).all()


def test_a_sentence_holds_estimate_interval_n_and_print():
    said = sentence(of_seeds("CIFAR-10", [-3.0, -2.0, -1.5], 3, printed=-3.24))
    for value in ("-2.17", "-4.06", "-0.27", "n = 3", BETTER, "-3.24"):
        assert value in said
    assert "nan" not in sentence(Finding("x", UNDECIDED))
    assert "1.23" in sentence(Finding("x", CONSISTENT, notes=("by 1.23",)))


def test_tally_counts_only_comparisons_with_a_word():
    assert tally([Finding("x", w) for w in (BETTER, WORSE, ALIKE, AWAITING, NOT_RUN)]) == "1 of 3 better, 1 worse"
    assert tally([Finding("x", AWAITING)]) == "" and math.isnan(Finding("x", AWAITING).estimate)
