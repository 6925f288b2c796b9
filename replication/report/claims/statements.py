"""Every statement of the paper, and our own questions, weighed."""

import pandas as pd

from replication.report.claims import loss, ours, results, theory, training  # noqa: F401  they fill WEIGHED
from replication.report.claims.evidence import STATEMENTS, WEIGHED, Evidence, Statement, read_evidence
from replication.report.claims.finding import WORDS

__all__ = ["Evidence", "Statement", "read_evidence", "statements", "statements_table"]


def statements(evidence: Evidence) -> tuple[Statement, ...]:
    """All statements, grouped by topic in the order theory, loss, training, results, large scale, ours."""
    return tuple(WEIGHED[name](evidence) for name in STATEMENTS)


def statements_table(weighed: tuple[Statement, ...]) -> pd.DataFrame:
    """One row per statement: id, place, topic, statement, bottom line, and the word of each kind of evidence."""
    rows = [
        {"id": s.id, "place": s.place, "topic": s.topic, "statement": s.text, "bottom line": s.bottom_line}
        | {kind: s.words.get(kind, "") for kind in WORDS}
        for s in weighed
    ]
    return pd.DataFrame(rows)
