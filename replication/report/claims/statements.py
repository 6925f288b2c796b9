"""Every statement of the paper, and our own questions, weighed."""

import pandas as pd

from replication.report.claims import loss, ours, results, theory, training
from replication.report.claims.evidence import Evidence, Statement, read_evidence
from replication.report.claims.finding import WORDS

__all__ = ["Evidence", "Statement", "read_evidence", "statements", "statements_table"]

ORDER = (
    theory.t1, theory.t2, theory.t3, theory.t4a, theory.t4b, theory.t5, theory.t6,
    loss.l1, loss.l2, loss.l3, loss.l4, loss.r8, training.p1, training.p2,
    results.r1, results.r2, results.r3, results.r4, results.r5a, results.r5b, results.r6,
    training.s1, training.s2, training.s3,
    ours.growth, ours.rebalancing, ours.choice, ours.today, ours.length, ours.ports,
)  # fmt: skip


def statements(evidence: Evidence) -> tuple[Statement, ...]:
    """All statements, grouped by topic in the order theory, loss, training, results, large scale, ours."""
    return tuple(weighed(evidence) for weighed in ORDER)


def statements_table(weighed: tuple[Statement, ...]) -> pd.DataFrame:
    """One row per statement: id, place, topic, statement, bottom line, and the word of each kind of evidence."""
    rows = [
        {"id": s.id, "place": s.place, "topic": s.topic, "statement": s.text, "bottom line": s.bottom_line}
        | {kind: s.words.get(kind, "") for kind in WORDS}
        for s in weighed
    ]
    return pd.DataFrame(rows)
