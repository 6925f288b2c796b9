"""Every statement of the paper, and our own questions, weighed."""

from functools import lru_cache

from replication.report.claims import loss, ours, results, theory, training  # noqa: F401  they fill WEIGHED
from replication.report.claims.evidence import STATEMENTS, WEIGHED, Evidence, Statement, read_evidence

__all__ = ["Evidence", "Statement", "read_evidence", "statements"]


@lru_cache(maxsize=8)
def statements(evidence: Evidence, topic: str | None = None) -> tuple[Statement, ...]:
    """The statements of a topic, or all, grouped as theory, loss, training, results, large scale, ours."""
    return tuple(WEIGHED[name](evidence) for name, spec in STATEMENTS.items() if topic in (None, spec["topic"]))
