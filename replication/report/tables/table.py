"""A Table: what is shown (markdown, LaTeX) and what is computed with (CSV), one caption for all three."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from replication.files import write_text
from replication.report.claims.verdicts import NOT_MEASURED

SMOKE_NOTE = "Smoke profile: proves the pipeline and nothing else; its numbers say nothing about the paper."


def diverged(records: pd.DataFrame) -> list[str]:
    """Names of the runs that diverged."""
    return sorted(records.loc[records["status"] != "finished", "name"])


def budget(records: pd.DataFrame, profile: str) -> str:
    """The words that go into every caption: profile, depth, epochs, seeds, runs, hardware, precision, what diverged."""
    warning = f"{SMOKE_NOTE} " if profile == "smoke" else ""
    if not len(records):
        return f"{warning}Profile {profile}: no records, nothing measured."
    words = [
        f"Profile {profile}: ResNet-{_several(records['depth'])}, {_several(records['epochs'])} epochs, "
        f"batch {_several(records['batch_size'])}, last epoch",
        f"{len(records)} run{'s' * (len(records) > 1)}, seeds {_several(records['seed'])}",
        f"hardware: {_several(records['device'])}; precision: {_several(records['precision'])}",
    ]
    lost = diverged(records)
    if lost:
        words.append(f"{len(lost)} diverged and in no mean: {', '.join(lost)}")
    return f"{warning}{'; '.join(words)}."


def _several(values) -> str:
    return ", ".join(str(v) for v in sorted(set(values)))


def caption(records: pd.DataFrame, profile: str, *more: str) -> str:
    """What every caption holds: the budget of the records, then whatever else the table needs."""
    return " ".join(filter(None, [budget(records, profile), *more]))


def across(data: pd.DataFrame) -> str:
    """How many of a table's pairs (columns n, across) differ in hardware, or in torch.compile, and so in rounding."""
    crossed = int(data["across"].sum())
    words = f"{crossed} ran on two kinds of hardware, or one of the two with torch.compile"
    return f"Of {data['n'].sum():.0f} pairs {words}." if crossed else ""


TAG = re.compile(r"<(?=[a-zA-Z/!?])(?!br>)")  # the beginning of a tag other than a line break


@dataclass(frozen=True)
class Table:
    """`shown` holds text ready to read; `data` holds numbers, one row per fact.  `profile` ends each CSV row."""

    name: str
    title: str
    caption: str
    shown: pd.DataFrame
    data: pd.DataFrame
    profile: str | None = None  # None: from published numbers alone

    def markdown(self) -> str:
        """Title, caption and the table, for GitHub and notebooks."""
        return _no_tags(f"**{self.title}**\n\n{self.caption}\n\n{markdown_rows(self.shown)}\n")

    def csv(self) -> str:
        """The numbers with four decimals at most; the profile in the last column, smoke named as what it is."""
        mark = {"smoke": "smoke (proves the pipeline only)", None: "published"}.get(self.profile, self.profile)
        data = self.data.assign(profile=mark)
        for column in data.select_dtypes("float"):
            data[column] = [format(round(v, 4), ".10g") if math.isfinite(v) else "" for v in data[column]]
        return data.to_csv(index=False, lineterminator="\n")

    def latex(self) -> str:
        """A table environment with booktabs rules, title and caption."""
        head, *rows = [[_tex(v) for v in row] for row in [self.shown.columns, *self.shown.itertuples(index=False)]]
        body = ["\\begin{table}", "\\centering", f"\\caption{{{_tex(self.title)} {_tex(self.caption)}}}"]
        body += [f"\\begin{{tabular}}{{l{'l' * (len(head) - 1)}}}", "\\toprule", " & ".join(head) + r" \\", "\\midrule"]
        body += [" & ".join(row) + r" \\" for row in rows]
        return "\n".join([*body, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])

    def write(self, folder: Path | str) -> list[Path]:
        """FOLDER/NAME.md, .csv and .tex, each written aside and renamed; returns the paths."""
        texts = {"md": self.markdown(), "csv": self.csv(), "tex": self.latex()}
        return [write_text(Path(folder) / f"{self.name}.{ending}", text) for ending, text in texts.items()]


def _no_tags(text: str) -> str:
    """Text without HTML but for line breaks: a device's or a class's name may come from anyone's file."""
    return TAG.sub("&lt;", text)


def markdown_rows(frame: pd.DataFrame) -> str:
    """A frame of text as a markdown table."""
    rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.itertuples(index=False)]
    return "\n".join("| " + " | ".join(_no_tags(str(v)).replace("|", "\\|") for v in row) + " |" for row in rows)


_TEX = str.maketrans(
    {c: "\\" + c for c in "&%$#_{}"}
    | {"±": "$\\pm$", "^": "\\^{}", "~": "\\~{}", "<": "$<$", ">": "$>$", "\\": "\\textbackslash{}"}
)


def _tex(value) -> str:
    return str(value).replace("<br>", " ").replace("**", "").translate(_TEX)


def number(value: float, digits: int = 2) -> str:
    """Fixed decimals; NaN says "not measured"."""
    return f"{value:z.{digits}f}" if value is not None and math.isfinite(value) else NOT_MEASURED


def signed(value: float) -> str:
    """Two decimals with the sign; NaN says "not measured"."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    text = f"{value:+.2f}"
    return text if float(text) else text[1:]  # no sign on what rounds to zero


def interval(low: float, high: float, show: Callable[[float], str] = signed) -> str:
    """The bounds in brackets after a space; nothing where there are none."""
    return f" [{show(low)}, {show(high)}]" if math.isfinite(low) else ""


def spread(row, sign: bool = False) -> str:
    """Mean ± sample sd, n and the 95 % t-interval where there are two values; the bare value and n = 1 for one.

    `row` holds mean, sd, n, low, high and perhaps diverged, as a row of `cells` does.  Without an interval where it
    has no bounds, or no width (values that are all alike say little of the next).
    """
    lost = 0 if row is None else row.get("diverged", 0)
    if row is None or not row["n"]:
        return f"diverged ({lost} of {lost})" if lost else NOT_MEASURED
    show = signed if sign else number
    count = f"(n = {row['n']}{f', {lost} diverged' if lost else ''})"
    if row["n"] < 2:
        return f"{show(row['mean'])} {count}"
    bounds = interval(row["low"], row["high"], show) if row["sd"] > 0 else ""
    return f"{show(row['mean'])} ± {number(row['sd'])} {count}{bounds}"


def p_value(p: float) -> str:
    """Three decimals; below 0.001 says so."""
    return "" if not math.isfinite(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
