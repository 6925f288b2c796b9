"""The table of statements."""

from replication.report.claims.finding import sentence
from replication.report.claims.statements import Statement, statements_table
from replication.report.tables.table import Table

RULES = (
    "Derivations are proved or refuted, simulations confirm or refute, the paper's own printed numbers are consistent "
    "or inconsistent with what it says of them, runs at full protocol replicate or do not replicate."
)

WHEN = (
    "The rules, the plan of runs and its seeds were fixed on 2026-11-27, when 179 records of short training and 2 at "
    "full protocol were known. Later on that day, before any run of the plans B and D to I was known, this was added "
    "where the rules left it open: a statement of several parts is replicated if more than half of the parts are as "
    "it says and none is the opposite; R1 is weighed by the mean over plan E's columns against the best plain loss; "
    "R3 compares 0.9999 with the other beta of lowest mean error; R6 is weighed on CIFAR-10 at imbalance 50 and P1 at"
    " imbalance 200 alone, as the plan runs no more; plan C includes seeds 0 to 2 of CIFAR-100 at 30 epochs."
)


def claims_table(statements: tuple[Statement, ...]) -> Table:
    """One row a statement: its bottom line, and one column for each kind of evidence."""
    data = statements_table(statements)
    shown = data.fillna("").rename(columns={"bottom line": "what the evidence says"})
    return Table("statements", "What the paper says, and what the evidence says", RULES, shown, data)


def findings_markdown(statements: tuple[Statement, ...]) -> str:
    """When the rules were fixed, and every statement with the findings beneath it, as nested lists."""
    lines = [WHEN, ""]
    for s in statements:
        lines += [f"- **{s.id}** ({s.place}). {s.text} {s.bottom_line}"]
        for weighing in s.weighings:
            lines += [f"  - {weighing.kind}: {weighing.word}"]
            lines += [f"    - {sentence(finding)}" for finding in weighing.findings]
    return "\n".join(lines)
