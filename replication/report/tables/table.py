"""Table: the text to show (markdown, LaTeX) and the numbers (CSV), with one caption for all three."""

import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment, StrictUndefined

from replication.files import write_text
from replication.report.analysis.measured import COMPILED, conditions
from replication.report.analysis.profile import Profile
from replication.report.analysis.published import TITLES

CAPTIONS = tomllib.loads(files(__package__).joinpath("captions.toml").read_text(encoding="utf-8"))
PHRASES = CAPTIONS["phrases"]
NO_NUMBER = "-"
TAG = re.compile(r"<(?=[a-zA-Z/!?])(?!br>)")  # but for line breaks; names of devices may come from anyone's file


@dataclass(frozen=True)
class Table:
    """`shown` holds text ready to read; `data` holds numbers, one row per fact.  `profile` ends each CSV row."""

    name: str
    title: str
    caption: str
    shown: pd.DataFrame
    data: pd.DataFrame
    profile: str | None = None  # None: from published numbers alone

    def without(self, *columns: str) -> "Table":
        """Return the table without these columns of text; its numbers stay."""
        return replace(self, shown=self.shown.drop(columns=list(columns)))

    def markdown(self) -> str:
        """Return title, caption and table for GitHub and notebooks."""
        head = TAG.sub("&lt;", f"**{self.title}**\n\n{self.caption}")
        return f"{head}\n\n{markdown_rows(self.shown)}\n"

    def csv(self) -> str:
        """Return the numbers with at most four decimals, and the profile in the last column."""
        mark = {"smoke": "smoke (proves the pipeline only)", None: "published"}.get(self.profile, self.profile)
        data = self.data.replace([math.inf, -math.inf], math.nan).round(4).assign(profile=mark)
        return data.to_csv(index=False, lineterminator="\n", float_format="%.10g")

    def latex(self) -> str:
        """Return a table environment with booktabs rules, title and caption."""
        shown = self.shown.astype(str).replace({"<br>": " ", r"\*\*": ""}, regex=True)
        style = shown.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
        caption = re.sub(r"([&%$#_{}])", r"\\\1", f"{self.title}. {self.caption}")  # Styler escapes cells alone
        layout = dict(column_format="l" * shown.shape[1], hrules=True, position_float="centering")
        return style.to_latex(caption=caption, **layout)

    def write(self, folder: Path | str) -> list[Path]:
        """Write FOLDER/NAME.md, .csv and .tex, each atomically, and return their paths."""
        texts = {"md": self.markdown(), "csv": self.csv(), "tex": self.latex()}
        return [write_text(Path(folder) / f"{self.name}.{ending}", text) for ending, text in texts.items()]


def markdown_rows(frame: pd.DataFrame) -> str:
    """Return a frame of text as a markdown table, without tags."""
    rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.itertuples(index=False)]
    lines = ("| " + " | ".join(str(value).replace("|", "\\|") for value in row) + " |" for row in rows)
    return TAG.sub("&lt;", "\n".join(lines))


def number(value: float | None, digits: int = 2) -> str:
    """Format with fixed decimals; "-" if there is no number."""
    return f"{value:z.{digits}f}" if value is not None and math.isfinite(value) else NO_NUMBER


def signed(value: float) -> str:
    """Format with two decimals and the sign; "-" if there is no number."""
    text = f"{value:+.2f}" if math.isfinite(value) else NO_NUMBER
    return text.lstrip("+-") if text in ("+0.00", "-0.00") else text


def interval(low: float, high: float, show: Callable[[float], str] = signed) -> str:
    """Return the bounds in brackets after a space; nothing if there are none."""
    return f" [{show(low)}, {show(high)}]" if math.isfinite(low) else ""


def paired_change(mean: float, low: float, high: float, n: float) -> str:
    """Write a paired change, its interval and its number of pairs; "-" without pairs."""
    return f"{signed(mean)}{interval(low, high)} (n = {n:.0f})" if n > 0 else NO_NUMBER


def spread(row: dict, sign: bool = False) -> str:
    """Write mean ± sample sd, n and the 95 % t-interval for two values or more; the bare value and n = 1 for one.

    `row` holds mean, sd, n, low, high and perhaps diverged, as a row of `cells` does.  The interval is left out if it
    has no bounds, or no width (equal values say little about the next one).
    """
    lost = row.get("diverged", 0)
    if not row["n"]:
        return f"diverged ({lost} of {lost})" if lost else NO_NUMBER
    show = signed if sign else number
    count = f"(n = {row['n']}{f', {lost} diverged' if lost else ''})"
    if row["n"] < 2:
        return f"{show(row['mean'])} {count}"
    bounds = interval(row["low"], row["high"], show) if row["sd"] > 0 else ""
    return f"{show(row['mean'])} ± {number(row['sd'])} {count}{bounds}"


TEMPLATES = Environment(undefined=StrictUndefined)
TEMPLATES.filters |= {"named": TITLES.__getitem__, "number": number, "signed": signed, "spread": spread}
TEMPLATES.globals |= {"interval": interval, "paired": paired_change}


def rendered(template: str, **facts) -> str:
    """Render a template of captions.toml with these facts, on one line."""
    return " ".join(TEMPLATES.from_string(template).render(facts).split())


def budget(profile: Profile, records: pd.DataFrame | None = None) -> str:
    """Return the beginning of a caption: the study, its budget, runs, seeds, hardware, precision and diverged runs.

    records: those of the profile's records that the table is about; default: all.
    """
    records = profile.records if records is None else records
    facts = dict(zip(("seeds", "precision", "hardware"), conditions(records), strict=True))
    compiled = records["device"].str.endswith(COMPILED).sum()
    lost = sorted(records.loc[records["status"] != "finished", "name"])
    return rendered(PHRASES["budget"], profile=profile, runs=len(records), compiled=compiled, lost=lost, **facts)


def across(data: pd.DataFrame) -> str:
    """Say how many of a table's pairs (columns n, across) differ in hardware or torch.compile, and so in rounding."""
    return rendered(PHRASES["across"], crossed=data["across"].sum(), total=data["n"].sum())


def captioned(
    key: str, data: pd.DataFrame, profile: str | None = None, shown: pd.DataFrame | None = None, **facts
) -> Table:
    """Return a table with the title and caption that captions.toml has under `key`, as Jinja templates of `facts`.

    shown: the text; default: a line for each row of `data`, from the templates of the columns.
    """
    texts = CAPTIONS[key]
    if shown is None:
        cells = {rendered(head, **facts): TEMPLATES.from_string(cell) for head, cell in texts["columns"].items()}
        rows = data.to_dict("records")
        lines = [[cell.render(facts | row, row=row) for cell in cells.values()] for row in rows]
        shown = pd.DataFrame(lines, columns=list(cells))
    return Table(key, rendered(texts["title"], **facts), rendered(texts["caption"], **facts), shown, data, profile)
