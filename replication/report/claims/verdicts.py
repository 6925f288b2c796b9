"""How evidence becomes a verdict: the four words, what a rule may look at, and the statistical rules they share.

A verdict from runs or from many printed cells needs more than a mean on the right side: an interval over at least
three seeds that leaves out 0, or a sign test at the 5 % level.  Otherwise it is inconclusive.

Of a claim in several parts all must be replicated, each at its own 5 %: an intersection-union test, which needs no
correction.  One part can contradict it, so its p-value is first multiplied by the number of parts (Bonferroni).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from replication.report.analysis.statistics import SEEDS, SIGNIFICANCE, sign_test, summary, t_test

REPLICATED, CONTRADICTED, INCONCLUSIVE, NOT_MEASURED = "replicated", "contradicted", "inconclusive", "not measured"
ALIKE = 1e-9  # values this near to each other, points, differ by rounding alone


class Finding(NamedTuple):
    """A verdict, the numbers it stands on in words, and the p-value behind it: 0 where chance has no part."""

    verdict: str
    words: str
    p: float = 0.0


def nothing(what: str) -> Finding:
    """Not measured: `what` is missing."""
    return Finding(NOT_MEASURED, f"no {what}")


def judged(holds: bool, words: str, otherwise: str = CONTRADICTED) -> Finding:
    """Replicated if it holds, else contradicted (for statements that leave no room for chance)."""
    return Finding(REPLICATED if holds else otherwise, words)


def by_interval(
    differences: Iterable[float], what: str = "difference", claimed: str = "below", points: Finding | None = None
) -> Finding:
    """One value per seed: the 95 % t-interval must lie on the `claimed` side of 0 ("below", "above"), n >= 3.

    Wholly on the other side is contradicted; around 0, or fewer seeds, inconclusive.  Values that are all alike have no
    spread to judge by: the exact sign test at the 5 % level decides, which asks for six seeds.

    points: for shares, which often are alike: the finding on the same runs in points; where the sign test finds too few
    seeds, it decides if it agrees.
    """
    values = list(differences)
    s = summary(values)
    if s.n == 0:
        return nothing("runs that bear on it")
    if s.n < SEEDS:
        return Finding(INCONCLUSIVE, f"{what} {s.mean:+.2f} from {s.n} seed{'s' * (s.n > 1)}; a verdict needs {SEEDS}")
    side = "below" if s.high < 0 else "above" if s.low > 0 else None
    words, p = f"{what} {s.mean:+.2f} [{s.low:+.2f}, {s.high:+.2f}], n = {s.n}", t_test(values)
    alike = np.ptp(values) < ALIKE
    if alike:
        p = sign_test(values)
        side = "below" if s.mean < -ALIKE else "above" if s.mean > ALIKE else None
        words = f"{what} {s.mean:+.2f} in each of {s.n} seeds, sign test p = {p:.2g}"
    verdict = INCONCLUSIVE if side is None else REPLICATED if side == claimed else CONTRADICTED
    if alike and p >= SIGNIFICANCE:  # too few seeds for their signs
        agrees = points is not None and points.verdict == verdict
        verdict, p = (verdict, points.p) if agrees else (INCONCLUSIVE, p)
    return Finding(verdict, words, p)


def by_signs(differences: Iterable[float], what: str = "lower") -> Finding:
    """Many differences, negative where the claim holds: the two-sided exact sign test at the 5 % level decides."""
    d = np.asarray(list(differences), dtype=float)
    if not len(d):
        return nothing("cells that bear on it")
    below, above, p = int((d < 0).sum()), int((d > 0).sum()), sign_test(d)
    words = f"{below} of {len(d)} {what} (sign test p = {p:.2g}, mean {d.mean():+.2f})"
    verdict = INCONCLUSIVE if p >= SIGNIFICANCE else REPLICATED if below > above else CONTRADICTED
    return Finding(verdict, words, p)


def together(parts: dict[str, Finding]) -> Finding:
    """Parts of one claim: replicated if all are, not measured if none is, else inconclusive unless contradicted.

    Contradicted if a part is, and still is with its p-value multiplied by the number of parts that were measured.
    """
    words = "; ".join(f"{name}: {finding.words}" for name, finding in parts.items()) or "nothing measured"
    verdicts = {finding.verdict for finding in parts.values()} or {NOT_MEASURED}
    if CONTRADICTED not in verdicts:
        return Finding(verdicts.pop() if len(verdicts) == 1 else INCONCLUSIVE, words)
    measured = sum(finding.verdict != NOT_MEASURED for finding in parts.values())
    least = min(finding.p for finding in parts.values() if finding.verdict == CONTRADICTED)
    p = min(1.0, measured * least)
    if measured > 1 and least:
        words += f"; the part most against it has p = {least:.2g}, times {measured} parts {p:.2g}"
    return Finding(CONTRADICTED if p < SIGNIFICANCE else INCONCLUSIVE, words, p)


def enough_of(
    finding: Finding, done: int, needed: int, what: str, verdicts: tuple[str, ...] = (REPLICATED,)
) -> Finding:
    """No verdict of these while fewer than `needed` of what the claim speaks of are measured; `done` are."""
    if done >= needed or finding.verdict not in verdicts:
        return finding
    return finding._replace(verdict=INCONCLUSIVE, words=f"{finding.words}; {what} measured: {done}, needed: {needed}")


def capped(finding: Finding, lost: int, what: str = "runs that bear on it") -> Finding:
    """With `lost` of its runs or pairs diverged, and so in no mean, a finding may contradict but not replicate."""
    if not lost:
        return finding
    verdict = INCONCLUSIVE if finding.verdict == REPLICATED else finding.verdict
    return finding._replace(verdict=verdict, words=f"{finding.words}; diverged and in no mean: {lost} of the {what}")
