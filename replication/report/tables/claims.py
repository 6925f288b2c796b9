"""The table of statements, and the findings beneath each."""

import pandas as pd

from replication.report.claims.finding import WORDS, sentence
from replication.report.claims.statements import Statement
from replication.report.tables.table import CAPTIONS, Table, captioned, rendered


def claims_table(statements: tuple[Statement, ...]) -> Table:
    """One row a statement: its bottom line, and one column for each kind of evidence."""
    rows = [
        {"id": s.id, "place": s.place, "topic": s.topic, "statement": s.text, "bottom line": s.bottom_line}
        | {kind: s.words.get(kind, "") for kind in WORDS}
        for s in statements
    ]
    data = pd.DataFrame(rows)
    return captioned("statements", data, shown=data.rename(columns={"bottom line": "what the evidence says"}))


def findings_markdown(statements: tuple[Statement, ...]) -> str:
    """When the rules were fixed, and every statement with the findings beneath it, as nested lists."""
    lines = [rendered(CAPTIONS["statements"]["when"]), ""]
    for s in statements:
        lines += [f"- **{s.id}** ({s.place}). {s.text} {s.bottom_line}"]
        for weighing in s.weighings:
            lines += [f"  - {weighing.kind}: {weighing.word}"]
            lines += [f"    - {sentence(finding)}" for finding in weighing.findings]
    return "\n".join(lines)
