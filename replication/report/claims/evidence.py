"""The evidence on which statements are weighed, and the result of weighing one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path

import pandas as pd

from replication.report.analysis import published as paper
from replication.report.analysis.covering import TABLES
from replication.report.analysis.large_scale import large_scale_records
from replication.report.analysis.profile import Profile, read_profiles
from replication.report.analysis.selection import published_selection_bias
from replication.report.claims.finding import NOT_RUN, UNDECIDED, WORDS, Finding, from_bool
from replication.report.claims.planned import Errors, errors_of
from replication.theory.effective_number import class_balanced_weights, effective_number

FULL, SHORT = "paper", "cpu"  # the profiles of the full protocol and of the short study


@dataclass(frozen=True, eq=False)
class Evidence:
    """All evidence that a statement may be weighed on.  Tests replace one field to change a verdict."""

    heat_maps: pd.DataFrame = field(default_factory=paper.heat_maps)
    table2: pd.DataFrame = field(default_factory=paper.table2)
    table3: pd.DataFrame = field(default_factory=paper.table3)
    profiles: dict[str, Profile] = field(default_factory=dict)
    large_scale: pd.DataFrame | None = None
    covering: dict[str, pd.DataFrame] = field(default_factory=dict)  # by name, those of TABLES that exist
    effective_number: Callable = effective_number
    class_balanced_weights: Callable = class_balanced_weights

    @cached_property
    def selection_bias(self) -> pd.DataFrame:
        """The gain by chance of choosing the best of 20, from the printed cells of Table 2's data sets."""
        return published_selection_bias(self.heat_maps[self.heat_maps["dataset"].isin(paper.TABLE2_SETS)])

    @cached_property
    def errors(self) -> Errors:
        """Last-epoch error of each finished run of the full protocol."""
        return errors_of(self.profiles[FULL].records) if FULL in self.profiles else {}

    def short(self, table: str) -> list[dict]:
        """Return the rows of one of the short study's tables ("ablations", ...); none without the study."""
        return getattr(self.profiles[SHORT], table).to_dict("records") if SHORT in self.profiles else []


def read_evidence(results: Path | str, profiles: dict[str, Profile] | None = None) -> Evidence:
    """Read the evidence under RESULTS: profiles (unless given), covering tables, large scale."""
    paths = {name: Path(results) / "covering" / f"{name}.csv" for name in TABLES}
    text = dict(dtype={"class_name": str}, keep_default_na=False, na_values=[""])
    covering = {name: pd.read_csv(path, **text) for name, path in paths.items() if path.is_file()}
    profiles = read_profiles(results) if profiles is None else profiles
    return Evidence(profiles=profiles, covering=covering, large_scale=large_scale_records(results))


@dataclass(frozen=True)
class Weighing:
    """The verdict of one kind of evidence on a statement."""

    kind: str  # derivation, simulation, print or runs
    word: str
    findings: tuple[Finding, ...]


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


def statement(id: str, place: str, topic: str, text: str) -> Callable:
    """Make a function of the evidence that returns a bottom line and weighings into one that returns a Statement.

    The bottom line is text, or the arguments of `bottom_line`: what to say if the statement holds, if it fails, else.
    """

    def decorate(weigh_it: Callable) -> Callable[[Evidence], Statement]:
        @wraps(weigh_it)
        def weighed(evidence: Evidence) -> Statement:
            line, *weighings = weigh_it(evidence)
            said = line if isinstance(line, str) else bottom_line(weighings, *line)
            return Statement(id, place, topic, text, said, tuple(weighings))

        return weighed

    return decorate


def weigh(kind: str, findings: Iterable[Finding] | Finding, word: str | None = None) -> Weighing:
    """Weigh findings of one kind; the default word is against if any finding is, and for if all are."""
    findings = (findings,) if isinstance(findings, Finding) else tuple(findings)
    found, (holds, fails) = {f.word for f in findings}, WORDS[kind]
    if word is None:
        word = fails if fails in found else holds if found == {holds} else found.pop() if len(found) == 1 else UNDECIDED
    return Weighing(kind, word, findings)


def settle(kind: str, holds: bool, what: str, *notes: str) -> Weighing:
    """Weigh one piece of evidence that involves no chance."""
    return weigh(kind, from_bool(kind, holds, what, *notes))


def bottom_line(weighings: Iterable[Weighing], holds: str, fails: str, otherwise: str = "") -> str:
    """`fails` if a kind of evidence speaks against the statement, `holds` if one speaks for it and none against."""
    words = {w.word for w in weighings}
    if words & {fail for _, fail in WORDS.values()}:
        return fails
    if words & {hold for hold, _ in WORDS.values()}:
        return holds
    return "Not run." if words == {NOT_RUN} else otherwise or "Undecided."
