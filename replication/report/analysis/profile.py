"""Profile: the records of one budget, and everything that is computed from them, computed once."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from replication.experiments.experiment import LENGTHS, PROFILES
from replication.report.analysis import ablations, measured, selection

TITLES = {"smoke": "smoke test", "cpu": "short training", "length": "length of training", "paper": "full protocol"}


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
    def budget(self) -> str:
        """Network and epochs: "ResNet-32, 200 epochs"."""
        if self.name not in PROFILES:
            return "any"
        epochs = " or ".join(map(str, LENGTHS)) if self.name == "length" else PROFILES[self.name]["epochs"]
        return f"ResNet-{PROFILES[self.name]['depth']}, {epochs} epochs"

    @property
    def diverged(self) -> list[str]:
        """The names of the runs that diverged."""
        return sorted(self.records.loc[self.records["status"] != "finished", "name"])

    @property
    def wall_hours(self) -> float:
        """The hours that the runs took, summed; runs that shared a machine each count in full."""
        return measured.wall_hours(self.records)

    @cached_property
    def reference(self) -> pd.DataFrame:
        """The runs of the paper's own protocol, with every switch as in the paper."""
        return measured.reference(self.records)

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The reference runs that have a final error."""
        return measured.finished(self.reference)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Mean, sd, n, low, high of the error of each cell of the reference protocol; see `measured.cells`."""
        return measured.cells(self.records)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Each class-balanced run beside the plain run of its seed; see `measured.pairs`."""
        return measured.pairs(self.records)

    @cached_property
    def paired_cells(self) -> pd.DataFrame:
        """The summary of each class-balanced cell's paired differences."""
        return measured.paired_cells(self.records)

    @cached_property
    def ablations(self) -> pd.DataFrame:
        """One switch changed at a time against the paper's protocol; see `ablations.ablations`."""
        return ablations.ablations(self.records)

    @cached_property
    def scale_by_weights(self) -> pd.DataFrame:
        """The 2 x 2 of scale and weights with its interaction; see `ablations.scale_by_weights`."""
        return ablations.scale_by_weights(self.records)

    @cached_property
    def selection_bias(self) -> pd.DataFrame:
        """The gain by chance of picking the best class-balanced cell; see `selection.measured_selection_bias`."""
        return selection.measured_selection_bias(self.records)


def read_profile(results: Path | str, name: str) -> Profile:
    """Read the profile of that name, with the records of RESULTS/NAME/runs; without records its frames are empty."""
    return Profile(name, measured.profile_records(results, name))


def read_profiles(results: Path | str) -> dict[str, Profile]:
    """Read the profiles that have records under RESULTS, in the order smoke, cpu, length, paper."""
    return {name: read_profile(results, name) for name in measured.profiles_with_records(results)}
