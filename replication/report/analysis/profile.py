"""Profile: the records of one budget, and everything that is computed from them, computed once."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from replication.experiments.experiment import LENGTHS, PROFILES
from replication.report.analysis import ablations as switches
from replication.report.analysis import measured, selection

TITLES = {"smoke": "smoke test", "cpu": "short training", "length": "length of training", "paper": "full protocol"}


def _of_records(compute: Callable[[pd.DataFrame], pd.DataFrame]) -> cached_property:
    """Make a function of the records into a property of the profile."""
    return cached_property(lambda profile: compute(profile.records))


@dataclass(frozen=True, eq=False)
class Profile:
    """The records of a profile, or of the folder "custom", and the numbers computed from them."""

    name: str
    records: pd.DataFrame

    @property
    def title(self) -> str:
        """The name that pages use: "full protocol", "short training", ..."""
        return TITLES.get(self.name, self.name)

    @property
    def comparable(self) -> bool:
        """Whether the paper's numbers may stand beside this profile's, which needs the same budget."""
        return self.name == "paper"

    @property
    def heading(self) -> str:
        """Title and budget: "Full protocol (ResNet-32, 200 epochs)"."""
        return f"{self.title.capitalize()} ({self.budget})"

    @property
    def budget(self) -> str:
        """Network and epochs: "ResNet-32, 200 epochs"."""
        if self.name not in PROFILES:
            return "any"
        epochs = " or ".join(map(str, LENGTHS)) if self.name == "length" else PROFILES[self.name]["epochs"]
        return f"ResNet-{PROFILES[self.name]['depth']}, {epochs} epochs"

    reference = _of_records(measured.reference)  # the runs of the paper's own protocol
    finished = cached_property(lambda profile: measured.finished(profile.reference))
    cells = _of_records(measured.cells)
    pairs = _of_records(measured.pairs)
    paired_cells = cached_property(lambda profile: measured.paired_summaries(profile.pairs, measured.CELL))
    ablations = _of_records(switches.ablations)
    scale_by_weights = _of_records(switches.scale_by_weights)
    selection_bias = _of_records(selection.measured_selection_bias)


def read_profile(results: Path | str, name: str) -> Profile:
    """Read the profile of that name, with the records of RESULTS/NAME/runs; without records its frames are empty."""
    return Profile(name, measured.profile_records(results, name))


def without_records(name: str) -> Profile:
    """Return the profile of that name as it is before its first run."""
    return read_profile(os.devnull, name)


def read_profiles(results: Path | str) -> dict[str, Profile]:
    """Read the profiles that have records under RESULTS, in the order smoke, cpu, length, paper."""
    names = [name for name in PROFILES if any((Path(results) / name / "runs").glob("*.json"))]
    return {name: read_profile(results, name) for name in names}
