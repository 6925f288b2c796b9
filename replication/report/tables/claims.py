"""The table of statements."""

import pandas as pd

from replication.report.claims.registry import CLAIMS, KINDS, PARTS
from replication.report.tables.table import Table


def claims_table(verdicts: pd.DataFrame, profile: str, text: str) -> Table:
    """The verdicts as a table; evidence `runs` is that of `profile`."""
    shown = verdicts.assign(
        evidence=verdicts["evidence"].replace("runs", f"runs ({profile})"), verdict="**" + verdicts["verdict"] + "**"
    )
    title = "What the paper claims, and what the evidence says"
    return Table(
        "claims",
        title,
        f"{text} Each verdict follows from the rule beside it; rules on runs were written before the runs and "
        f"tightened since, those on printed numbers with these known. {PARTS}",
        shown,
        verdicts,
        profile,
    )


def wide(by_profile: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per claim: a verdict for each kind of evidence, `runs` per profile; "-" where a kind does not apply."""
    first = next(iter(by_profile.values()))
    rows = []
    for claim in CLAIMS:
        verdict = {
            k: v for k, v in first[first["id"] == claim.id].set_index("evidence")["verdict"].items() if k != "runs"
        }
        for profile, verdicts in by_profile.items():
            runs = verdicts.query("id == @claim.id and evidence == 'runs'")["verdict"]
            verdict[f"runs ({profile})"] = runs.iloc[0] if len(runs) else "-"
        columns = [*KINDS[:-1], *(f"runs ({profile})" for profile in by_profile)]
        rows.append(
            {"id": claim.id, "place": claim.place, "claim": claim.statement} | {c: verdict.get(c, "-") for c in columns}
        )
    return pd.DataFrame(rows)
