"""Experiments: the paper's defaults, guards, names, profiles and grids."""

import math
from dataclasses import asdict, dataclass, field, replace

import pytest

from replication.experiments.experiment import LATER, PROFILES, Experiment
from replication.experiments.grids import GRIDS, grid
from replication.report.analysis import published as paper


def test_defaults_are_the_paper_s():
    e = Experiment()
    assert (e.depth, e.epochs, e.batch_size, e.base_learning_rate, e.weight_decay) == (32, 200, 128, 0.1, 2e-4)
    assert (e.drop_factor, e.shortcut, e.reduction, e.last_bias) == (0.01, "average_pool", "mean", "prior")


def test_heat_map_grid_is_the_published_one():
    ours = {(e.loss, e.gamma, e.beta, e.imbalance_factor) for e in grid("heat-map")}
    cells = paper.heat_map("cifar10")
    gammas = [None if math.isnan(g) else g for g in cells["gamma"]]
    published = set(zip(cells["loss"], gammas, cells["beta"], cells["imbalance_factor"], strict=True))
    assert len(ours) == 125 and ours == published


@pytest.mark.parametrize("name", GRIDS)
def test_grids_hold_no_run_twice_and_names_are_unique(name):
    experiments = grid(name, "cpu", seeds=(0, 1))
    assert len(set(experiments)) == len(experiments) == len({e.name for e in experiments})


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_is_known_by_its_budget(profile):
    assert Experiment(**PROFILES[profile]).profile == profile
    assert replace(Experiment(**PROFILES[profile]), epochs=7).profile == "custom"
    assert replace(Experiment(**PROFILES[profile]), loss="sigmoid", beta=0.9, drop_factor=0.1).profile == profile


def test_equal_experiments_have_one_name_however_written():
    assert Experiment(beta=0, imbalance_factor=100).name == Experiment(beta=0.0, imbalance_factor=100.0).name
    assert Experiment(loss="focal", gamma=1).name == Experiment(loss="focal", gamma=1.0).name
    assert "drop_factor-0.1" in Experiment(drop_factor=0.1).name


def test_balanced_runs_drop_by_what_the_authors_balanced_script_drops():
    """PROTOCOL.md: x0.01 twice in the long-tailed scripts, x0.1 twice in the balanced one."""
    assert {e.drop_factor for e in grid("balanced")} == {0.1} and {e.drop_factor for e in grid("heat-map")} == {0.01}
    balanced = Experiment(imbalance_factor=1)
    assert balanced == Experiment(imbalance_factor=1, drop_factor=0.1) and "drop" not in balanced.name
    assert "drop_factor-0.01" in Experiment(imbalance_factor=1, drop_factor=0.01).name


def test_a_field_added_later_leaves_names_as_they_were():
    """As CONTRIBUTING.md says: records from before it are found and read; a run that sets it has another name."""

    @dataclass(frozen=True)
    class Longer(Experiment):
        mixup: float = field(default=0.0, metadata=LATER)

    for e in grid("controls", "cpu"):
        assert Longer(**asdict(e)).name == e.name
    assert Longer(mixup=0.2).digest != Experiment().digest


@pytest.mark.parametrize(
    "wrong",
    [
        dict(dataset="imagenet"),
        dict(loss="hinge"),
        dict(imbalance_factor=0.9),
        dict(imbalance_factor=math.inf),
        dict(imbalance_factor="natural"),
        dict(dataset="folder", imbalance_factor="many"),
        dict(beta=-0.1),
        dict(beta=1.1),
        dict(beta=math.nan),
        dict(beta="0.9"),
        dict(seed=-1),
        dict(seed=0.5),
        dict(depth=33),
        dict(epochs=0),
        dict(epochs=True),
        dict(batch_size=0),
        dict(base_learning_rate=0),
        dict(weight_decay=-1),
        dict(drop_factor=0),
        dict(gamma=1.0),
        dict(loss="focal", gamma=-1),
        dict(weights="none"),
        dict(reduction="sum"),
        dict(shortcut="conv"),
        dict(shuffle="none"),
        dict(last_bias="one"),
        dict(last_bias="zero"),
        dict(weights="uniform_scaled"),
    ],
)
def test_refuses(wrong):
    with pytest.raises(ValueError, match=f"^{list(wrong)[-1]} must be"):
        Experiment(**wrong)


def test_focal_needs_gamma():
    with pytest.raises(ValueError, match="^gamma must be given"):
        Experiment(loss="focal")


@pytest.mark.parametrize(("arguments", "name"), [(("figure11",), "grid"), (("heat-map", "gpu"), "profile")])
def test_grid_refuses(arguments, name):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        grid(*arguments)


def test_a_folder_is_taken_as_it_is_unless_told_otherwise():
    assert Experiment(dataset="folder") == Experiment(dataset="folder", imbalance_factor="natural")
    assert Experiment(dataset="folder").name.startswith("folder_imbalancenatural_softmax_beta0_seed0_")
    assert Experiment(dataset="folder", imbalance_factor=10).imbalance_factor == 10.0
    assert Experiment() == Experiment(imbalance_factor=100)
