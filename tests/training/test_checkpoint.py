"""Checkpoints: whole or not at all, taken up only by the run they belong to, and loaded without running code."""

import errno
import io
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from replication import files as whole_file
from replication.data.sources import load
from replication.experiments.experiment import Experiment
from replication.training import checkpoint
from replication.training.cifar.train import train
from replication.training.loop import OutOfTime

RUN = Experiment()
STATE = dict(model=dict(weight=torch.arange(4.0)), curve=[dict(epoch=2, error=50.0)], step=7, seconds=1.5)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoints" / "run.pt"
    checkpoint.save(path, RUN, "images", "float32", STATE)
    return path


def in_quarantine(path: Path) -> list[Path]:
    return list((path.parent.parent / "quarantine").glob("*"))


def test_gives_back_what_was_saved(path):
    state = checkpoint.load(path, RUN, "images", "float32")
    assert torch.equal(state["model"]["weight"], torch.arange(4.0))
    assert {k: v for k, v in state.items() if k != "model"} == {k: v for k, v in STATE.items() if k != "model"}
    assert [p.name for p in path.parent.iterdir()] == ["run.pt"]  # nothing half-written beside it


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoint.load(tmp_path / "none.pt", RUN, "images", "float32") is None


@pytest.mark.parametrize("keep", [0, 1, 31, 32, 33, 0.5, 0.9, -1])
def test_truncated_is_set_aside(path, keep):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.warns(UserWarning, match=r"run\.pt: checkpoint cannot be used.*truncated or altered"):
        assert checkpoint.load(path, RUN, "images", "float32") is None
    assert not path.exists() and len(in_quarantine(path)) == 1


@pytest.mark.parametrize("where", [0.1, 0.5, 0.99])
def test_one_altered_bit_is_noticed(path, where):
    """torch's own reader takes an altered weight for a good one."""
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="truncated or altered"):
        assert checkpoint.load(path, RUN, "images", "float32") is None


@pytest.mark.parametrize(
    "experiment, images, software, word",
    [
        (replace(RUN, seed=1), "images", {}, "experiment"),
        (replace(RUN, epochs=100), "images", {}, "experiment"),
        (RUN, "other images", {}, "subset_fingerprint"),
        (RUN, "images", dict(__version__="9.9"), "package_version"),
    ],
)
def test_foreign_is_named_and_set_aside(path, experiment, images, software, word, monkeypatch):
    for name, value in software.items():
        monkeypatch.setattr(checkpoint.replication, name, value)
    with pytest.warns(UserWarning, match=f"checkpoint cannot be used.*its {word} is"):
        assert checkpoint.load(path, experiment, images, "float32") is None
    assert len(in_quarantine(path)) == 1


def test_another_precision_is_refused_and_nothing_is_lost(path):
    with pytest.raises(ValueError, match=r"precision must be float32, in which .*, got bfloat16; .*delete .*run\.pt"):
        checkpoint.load(path, RUN, "images", "bfloat16 autocast")
    assert checkpoint.load(path, RUN, "images", "float32")["step"] == 7 and not in_quarantine(path)


OTHER_LAYOUTS = {
    "a key is missing": dict(STATE, order=torch.zeros(3)),
    "a weight is missing": dict(STATE, model=dict(weight=torch.zeros(4), bias=torch.zeros(1))),
    "a weight more": dict(STATE, model=dict(bias=torch.zeros(1))),
    "another shape": dict(STATE, model=dict(weight=torch.zeros(4, 1))),
    "another type": dict(STATE, model=dict(weight=torch.zeros(4, dtype=torch.float64))),
    "another number of groups": dict(STATE, curve=[1, 2]),
    "a number for a tensor": dict(STATE, step=torch.zeros(())),
    "a dict for a number": dict(STATE, model=0),
}


@pytest.mark.parametrize("like", OTHER_LAYOUTS.values(), ids=OTHER_LAYOUTS)
def test_a_whole_checkpoint_with_another_layout_is_set_aside(path, like):
    with pytest.warns(UserWarning, match=r"run\.pt: checkpoint cannot be used \(it has another layout at state"):
        assert checkpoint.load(path, RUN, "images", "float32", like=like) is None
    assert not path.exists() and len(in_quarantine(path)) == 1


def test_the_layout_of_the_beginning_will_do(path):
    """Lists and the optimiser's state grow during a run; whole numbers and floats are both numbers."""
    like = dict(model=dict(weight=torch.zeros(4)), curve=[], step=0, seconds=0)
    assert checkpoint.load(path, RUN, "images", "float32", like=like)["step"] == 7


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A short run: experiment, record and the checkpoint that it leaves if its time is up."""
    run = Experiment(dataset="digits", depth=8, epochs=4, batch_size=64, imbalance_factor=10.0)
    path = tmp_path_factory.mktemp("short") / "run.pt"
    with pytest.raises(OutOfTime):
        train(run, load("digits"), device="cpu", checkpoint_path=path, over=lambda: True)
    return run, train(run, load("digits"), device="cpu"), path.read_bytes()


@pytest.mark.parametrize("spoil", ["model", "optimiser", "step", "curve"])
def test_a_run_begins_anew_where_its_checkpoint_has_another_layout(tmp_path, short, spoil):
    run, whole, content = short
    path = tmp_path / "checkpoints" / "run.pt"
    held = torch.load(io.BytesIO(content[checkpoint.DIGEST :]), weights_only=True)
    held["state"][spoil] = dict(weight=torch.zeros(2)) if spoil in ("model", "optimiser") else "another"
    checkpoint.save(path, run, held["subset_fingerprint"], held["precision"], held["state"])
    with pytest.warns(UserWarning, match="another layout at state"):
        again = train(run, load("digits"), device="cpu", checkpoint_path=path)
    assert again.curve == whole.curve and len(in_quarantine(path)) == 1


def test_a_folder_in_its_place_is_set_aside(tmp_path):
    path = tmp_path / "checkpoints" / "run.pt"
    path.mkdir(parents=True)
    with pytest.warns(UserWarning, match="not a regular file"):
        assert checkpoint.load(path, RUN, "images", "float32") is None
    checkpoint.save(path, RUN, "images", "float32", STATE)
    assert checkpoint.load(path, RUN, "images", "float32")["step"] == 7


def test_no_code_runs_from_a_checkpoint(path):
    """weights_only: a pickle that would write a file is refused, though its digest is right."""
    planted = path.parent / "planted"

    class Plant:
        def __reduce__(self):
            return Path.touch, (planted,)

    payload = pickle.dumps(Plant(), protocol=2)  # the one that torch reads
    path.write_bytes(checkpoint.hashlib.sha256(payload).digest() + payload)
    with pytest.warns(UserWarning, match="checkpoint cannot be used"):
        assert checkpoint.load(path, RUN, "images", "float32") is None
    assert not planted.exists()
    pickle.loads(payload)
    assert planted.exists()  # it would have


def test_full_disk_is_one_clear_error_and_leaves_the_last_good_checkpoint(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    good = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*checkpoint cannot be written.*run\.pt"):
        checkpoint.save(path, RUN, "images", "float32", STATE | dict(step=8))
    assert path.read_bytes() == good and [p.name for p in path.parent.iterdir()] == ["run.pt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_device_that_is_really_full(path, monkeypatch):
    """Linux's /dev/full refuses every byte: the same error from the operating system itself."""
    good = path.read_bytes()
    monkeypatch.setattr(whole_file, "open", lambda *_: Path("/dev/full").open("wb"), raising=False)  # noqa: SIM115
    with pytest.raises(OSError, match="No space left.*checkpoint cannot be written"):
        checkpoint.save(path, RUN, "images", "float32", STATE)
    assert path.read_bytes() == good


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only folders")
def test_read_only_folder(path):
    path.parent.chmod(0o500)
    try:
        with pytest.raises(OSError, match="Permission denied"):
            checkpoint.save(path, RUN, "images", "float32", STATE)
    finally:
        path.parent.chmod(0o700)
    assert checkpoint.load(path, RUN, "images", "float32")["step"] == 7


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        checkpoint.save(tmp_path / "file" / "run.pt", RUN, "images", "float32", STATE)


def test_two_that_set_aside_the_same_file_both_go_on(path):
    checkpoint_path = path.parent / "gone.pt"
    assert not checkpoint.set_aside(checkpoint_path, "was broken").exists()
