"""The evidence on which statements are weighed, and the result of weighing one."""

import os
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial, wraps
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from replication.experiments.covering import read_tables
from replication.report.analysis import published as paper
from replication.report.analysis.large_scale import large_scale_records
from replication.report.analysis.profile import Profile, read_profiles, without_records
from replication.report.analysis.selection import published_selection_bias
from replication.report.claims.finding import NOT_RUN, WORDS, Finding
from replication.report.claims.planned import RULES, Errors, errors_of
from replication.theory.effective_number import class_balanced_weights, effective_number


@dataclass(frozen=True, eq=False)
class Evidence:
    """All evidence that a statement may be weighed on.  Tests replace one field to change a verdict."""

    heat_maps: pd.DataFrame = field(default_factory=paper.heat_maps)
    table2: pd.DataFrame = field(default_factory=paper.table2)
    table3: pd.DataFrame = field(default_factory=partial(paper.published, "table3"))
    profiles: dict[str, Profile] = field(default_factory=dict)
    large_scale: pd.DataFrame = field(default_factory=partial(large_scale_records, os.devnull))
    covering: dict[str, pd.DataFrame] = field(default_factory=dict)  # by name, those of TABLES that exist
    effective_number: Callable = effective_number
    class_balanced_weights: Callable = class_balanced_weights

    @cached_property
    def full(self) -> Profile:
        """The full protocol."""
        return self.profiles.get("paper", without_records("paper"))

    @cached_property
    def short(self) -> Profile:
        """The short study."""
        return self.profiles.get("cpu", without_records("cpu"))

    @cached_property
    def selection_bias(self) -> pd.DataFrame:
        """The gain by chance of choosing the best of 20, from the printed cells of Table 2's data sets."""
        return published_selection_bias(self.heat_maps[self.heat_maps["dataset"].isin(paper.TABLE2_SETS)])

    @cached_property
    def errors(self) -> Errors:
        """Last-epoch error of each finished run of the full protocol."""
        return errors_of(self.full.records)


def read_evidence(results: Path | str, profiles: dict[str, Profile] | None = None) -> Evidence:
    """Read the evidence under RESULTS: profiles (unless given), covering tables, large scale."""
    covering = read_tables(Path(results) / "covering")
    profiles = read_profiles(results) if profiles is None else profiles
    return Evidence(profiles=profiles, covering=covering, large_scale=large_scale_records(results))


@dataclass(frozen=True)
class Weighing:
    """The verdict of one kind of evidence on a statement."""

    kind: str  # derivation, simulation, print or runs
    word: str
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Statement:
    """A statement of the paper, or our own question, with its bottom line and its evidence."""

    id: str
    place: str  # in the paper
    topic: str  # theory, loss, training, results, large scale or ours
    text: str
    bottom_line: str
    weighings: tuple[Weighing, ...]

    @property
    def words(self) -> dict[str, str]:
        """The word of each kind of evidence."""
        return {w.kind: w.word for w in self.weighings}


STATEMENTS = tomllib.loads((files("replication.report") / "claims" / "statements.toml").read_text(encoding="utf-8"))
WEIGHED: dict[str, Callable[[Evidence], Statement]] = {}  # by the name of the statement, in any order


def statement(id: str) -> Callable:
    """Mark the function that weighs the statement of that name in statements.toml; it then returns a Statement.

    The function returns the numbers of the templates, and a verdict for each kind of evidence; see `weighing`.  Runs
    decide by one of RULES if there is one for this statement, and `ran` is what they say in its bottom line.
    """
    spec = STATEMENTS[id]

    def decorate(weigh_it: Callable) -> Callable[[Evidence], Statement]:
        @wraps(weigh_it)
        def weighed(evidence: Evidence) -> Statement:
            numbers, verdicts = weigh_it(evidence)
            if id in RULES:
                word, findings, ran = RULES[id].decide(evidence.errors)
                numbers["ran"], verdicts["runs"] = ran, Weighing("runs", word, findings)
            found = tuple(weighing(kind, verdict, spec, numbers) for kind, verdict in verdicts.items())
            line = bottom_line({w.word for w in found}, spec).format(**numbers)
            return Statement(id, spec["place"], spec["topic"], spec["text"], line, found)

        WEIGHED[id] = weighed
        return weighed

    return decorate


def weighing(kind: str, verdict: Any, spec: dict, numbers: dict) -> Weighing:
    """Return a Weighing for a verdict: True or False (it holds or not), a word, None (not run), or a Weighing itself.

    Findings that follow it in a tuple are shown beside it.
    """
    if isinstance(verdict, Weighing):
        return verdict
    verdict, *beside = verdict if isinstance(verdict, tuple) else (verdict,)
    holds, fails = WORDS[kind]
    word = {True: holds, False: fails, None: NOT_RUN}.get(verdict, verdict)
    what, *notes = (text.format(**numbers) for text in (spec[kind] if verdict is not None else spec[kind][:1]))
    return Weighing(kind, word, [Finding(what, word, notes=tuple(notes)), *beside])


def bottom_line(words: set[str], spec: dict) -> str:
    """Return the bottom line: `line` if there is one, `fails` if any evidence is against, `holds` if all is for it."""
    if words == {NOT_RUN}:
        return spec.get("not_run", "Not run.")
    if "line" in spec:
        return spec["line"]
    if words & {fails for _, fails in WORDS.values()}:
        return spec["fails"]
    return spec["holds"] if words & {holds for holds, _ in WORDS.values()} else spec.get("otherwise", "Undecided.")
