"""Findings: an estimate with its interval, n and a verdict word, and the sentence made from them.

The words name the kind of evidence.  A comparison of runs is better, worse, alike or undecided, and awaits its seeds
until those of the plan are there.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from replication.report.analysis.statistics import summary

BETTER, WORSE, ALIKE, UNDECIDED = "better", "worse", "alike", "undecided"
AWAITING, NOT_RUN = "awaiting seeds", "not run"
PROVED, CONFIRMED, CONSISTENT, REPLICATED = "proved", "confirmed", "consistent", "replicated"
REFUTED, INCONSISTENT, NOT_REPLICATED = "refuted", "inconsistent", "not replicated"
WORDS = {  # kind of evidence: the word if the statement holds, and if it does not
    "derivation": (PROVED, REFUTED),
    "simulation": (CONFIRMED, REFUTED),
    "print": (CONSISTENT, INCONSISTENT),
    "runs": (REPLICATED, NOT_REPLICATED),
}
MARGIN = 0.5  # points: an interval within -0.5 to +0.5 says that two errors are alike


@dataclass(frozen=True)
class Finding:
    """The result of one piece of evidence.  Changes in error are in points, minus is better; NaN: not available."""

    what: str
    word: str
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    planned: int = 0  # seeds fixed in the plan; 0 if it has none
    detectable: float = math.nan  # smallest effect that n seeds of this spread show with 80 % power
    printed: float = math.nan  # what the paper prints for the same comparison
    unit: str = "points"
    notes: tuple[str, ...] = ()


def word_of(low, high, margin: float = MARGIN) -> np.ndarray:
    """Return the word for an interval of a change in error, elementwise; a missing bound gives undecided.

    >>> word_of([-3, 1, -0.2, -1], [-1, 3, 0.3, 2]).tolist()
    ['better', 'worse', 'alike', 'undecided']
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    return np.select([high < 0, low > 0, (low > -margin) & (high < margin)], [BETTER, WORSE, ALIKE], UNDECIDED)


def interval_word(low: float, high: float, n: int, planned: int = 0, margin: float = MARGIN) -> str:
    """Return the word for a comparison over n seeds, of which `planned` were fixed beforehand; it takes at least two.

    >>> interval_word(-3.2, -2.8, n=3, planned=3), interval_word(-3.2, -2.8, n=3, planned=5)
    ('better', 'awaiting seeds')
    """
    return NOT_RUN if not n else AWAITING if n < max(planned, 2) else str(word_of(low, high, margin))


def tally(findings: Iterable[Finding]) -> str:
    """Count the comparisons that are better and worse, among those with a word; empty if there are none.

    >>> tally([Finding("a", BETTER), Finding("b", BETTER), Finding("c", UNDECIDED), Finding("d", NOT_RUN)])
    '2 of 3 better, 0 worse'
    """
    words = [f.word for f in findings if f.word in (BETTER, WORSE, ALIKE, UNDECIDED)]
    return f"{words.count(BETTER)} of {len(words)} better, {words.count(WORSE)} worse" if words else ""


def of_row(what: str, row: Mapping, planned: int, margin: float = MARGIN, **more) -> Finding:
    """Return the finding of a summary (mean, low, high, n, detectable); its word waits for all planned seeds."""
    n = int(row["n"])
    word = interval_word(row["low"], row["high"], n, planned, margin)
    return Finding(what, word, row["mean"], row["low"], row["high"], n, planned, row["detectable"], **more)


def of_seeds(what: str, values: Iterable[float], planned: int, margin: float = MARGIN, **more) -> Finding:
    """Return the finding of a comparison with one value per seed.

    >>> of_seeds("a change", [-3.0, -3.1, -2.9], planned=3).word
    'better'
    >>> of_seeds("a change", [-3.0, -3.1], planned=3).word
    'awaiting seeds'
    """
    return of_row(what, summary(list(values))._asdict(), planned, margin, **more)


def sentence(finding: Finding) -> str:
    """Write a finding as a sentence: estimate with interval, n, the effect n could show, the paper's value, notes.

    >>> sentence(of_seeds("x", [-3.0, -3.4], planned=3, printed=-3.24))
    'x: -3.20 points [-5.74, -0.66], n = 2 of 3 seeds planned; awaiting seeds; 2 seeds can show 3.27; paper -3.24'
    """
    f, parts = finding, []
    if math.isfinite(f.estimate):
        bounds = f" [{f.low:+.2f}, {f.high:+.2f}]" if math.isfinite(f.low) else ""
        seeds = f", n = {f.n}" + (f" of {f.planned} seeds planned" if f.n < f.planned else "") if f.n else ""
        parts.append(f"{f.estimate:+.2f} {f.unit}{bounds}{seeds}")
    parts.append(f.word)
    if math.isfinite(f.detectable):
        parts.append(f"{f.n} seeds can show {f.detectable:.2f}")
    if math.isfinite(f.printed):
        parts.append(f"paper {f.printed:+.2f}")
    return f"{f.what}: {'; '.join([*parts, *f.notes])}"


def majority(words, claimed: list[str]) -> np.ndarray:
    """Return the verdict of runs on a statement in parts: (..., parts) words, one claimed word per part -> (...).

    It is replicated if more than half of the parts are as claimed and none is the opposite, not replicated if more than
    half are the opposite or alike, and undecided otherwise.

    >>> str(majority(["better", "better", "undecided"], ["better"] * 3))
    'replicated'
    """
    found, wanted = np.asarray(words), np.asarray(claimed)
    as_claimed, half = (found == wanted).sum(-1), len(claimed) / 2
    opposite = ((found == BETTER) & (wanted == WORSE)) | ((found == WORSE) & (wanted == BETTER))
    against = (opposite | ((found == ALIKE) & (wanted != ALIKE))).sum(-1)
    return np.select([(as_claimed > half) & ~opposite.any(-1), against > half], [REPLICATED, NOT_REPLICATED], UNDECIDED)
