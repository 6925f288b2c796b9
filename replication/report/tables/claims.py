"""The table of statements."""

from replication.report.claims.finding import sentence
from replication.report.claims.statements import Statement, statements_table
from replication.report.tables.table import Table

RULES = (
    "Derivations are proved or refuted, simulations confirm or refute, the paper's own printed numbers are consistent "
    "or inconsistent with what it says of them, runs at full protocol replicate or do not replicate."
)


def claims_table(statements: tuple[Statement, ...]) -> Table:
    """One row a statement: its bottom line, and one column for each kind of evidence."""
    data = statements_table(statements)
    shown = data.fillna("").rename(columns={"bottom line": "what the evidence says"})
    return Table("statements", "What the paper says, and what the evidence says", RULES, shown, data)


def findings_markdown(statements: tuple[Statement, ...]) -> str:
    """Every statement with the findings beneath it, as nested lists."""
    lines = []
    for s in statements:
        lines += [f"- **{s.id}** ({s.place}). {s.text} {s.bottom_line}"]
        for weighing in s.weighings:
            lines += [f"  - {weighing.kind}: {weighing.word}"]
            lines += [f"    - {sentence(finding)}" for finding in weighing.findings]
    return "\n".join(lines)
