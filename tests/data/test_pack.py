"""A pack answers as the whole data set does, for the runs that it holds, and refuses the others by name."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from replication.__main__ import main
from replication.data import sources
from replication.data.image_set import ImageSet
from replication.data.pack import PACKS, pack_path, read_pack, write_pack
from replication.data.sources import CIFAR_SIZES, SUPERCLASSES, load
from replication.experiments.experiment import Experiment
from replication.training.cifar.train import train
from replication.training.one_run import RunOptions
from replication.training.sweep.sweep import sweep

FINE = tuple(sorted(name for _, members in SUPERCLASSES for name in members.split()))
RUNS = [(4.0, 1), (4.0, 2), (10.0, 0)]
HELD = [(factor, seed) for factor in (10.0, 20.0) for seed in (0, 1, 2)] + [(4.0, 1), (5.0, 2)]


def made(classes, per_class, seed, shape=(32, 32, 3)):
    """Images of four colours, which are packed quickly, in no order of classes."""
    rng = np.random.default_rng(seed)
    n = classes * per_class
    blocks = rng.integers(200, size=(n, 2, 2, shape[2])).repeat(shape[0] // 2, 1).repeat(shape[1] // 2, 2)
    images = blocks // 16 * 16 + rng.integers(56, size=(n, 1, 1, 1))
    names = FINE if classes == 100 else tuple(f"class {k}" for k in range(classes))
    return ImageSet(images.astype(np.uint8), rng.permutation(np.arange(n) % classes), names)


def coarse(data):
    """CIFAR-20's labels for CIFAR-100's images."""
    table = {fine: k for k, (_, members) in enumerate(SUPERCLASSES) for fine in members.split()}
    targets = np.array([table[name] for name in FINE])[data.targets]
    return ImageSet(data.images, targets, tuple(name for name, _ in SUPERCLASSES))


@pytest.fixture(scope="module")
def whole():
    """Training and test set by the name of the data set."""
    fine = made(100, 20, 1), made(100, 2, 2)
    return {
        "cifar10": (made(10, 60, 3), made(10, 7, 4)),
        "cifar100": fine,
        "cifar20": tuple(coarse(data) for data in fine),
        "fashion_mnist": (made(10, 30, 5, (28, 28, 1)), made(10, 3, 6, (28, 28, 1))),
    }


@pytest.fixture(scope="module")
def packs(whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs")
    write_pack(pack_path(folder, "cifar10"), {"cifar10": whole["cifar10"]}, RUNS)
    write_pack(pack_path(folder, "cifar100"), {name: whole[name] for name in ("cifar100", "cifar20")}, RUNS)
    write_pack(pack_path(folder, "fashion_mnist"), {"fashion_mnist": whole["fashion_mnist"]}, RUNS)
    return folder


@pytest.mark.parametrize("dataset", PACKS)
def test_a_pack_answers_as_the_whole_set_does(dataset, whole, packs):
    (train_set, test), (packed, packed_test) = whole[dataset], load(dataset, packs)
    assert len(packed) < len(train_set)
    assert packed.fingerprint == train_set.fingerprint and packed.class_counts == train_set.class_counts
    assert (packed.images.dtype, packed.targets.dtype) == (np.uint8, np.int64)
    assert np.array_equal(packed_test.images, test.images) and np.array_equal(packed_test.targets, test.targets)
    assert packed_test.fingerprint == test.fingerprint
    for run in HELD:
        kept, expected = packed.long_tailed(*run), train_set.long_tailed(*run)
        assert np.array_equal(kept.images, expected.images) and np.array_equal(kept.targets, expected.targets)
        assert kept.fingerprint == expected.fingerprint and kept.class_counts == expected.class_counts
        assert (kept.class_names, kept.padding, kept.flip) == (expected.class_names, expected.padding, expected.flip)


def test_no_image_is_packed_that_no_run_needs(whole, packs):
    packed, train_set = load("cifar10", packs)[0], whole["cifar10"][0]
    needed = {x.tobytes() for run in RUNS for x in train_set.long_tailed(*run).images}
    assert {x.tobytes() for x in packed.images} == needed and len(packed) == len(needed)


@pytest.mark.parametrize("run", [(4.0, 0), (3.9, 1), (10.0, 3), (1.0, 2), ("natural", 1)])
def test_other_runs_are_refused_by_name(run, packs):
    with pytest.raises(ValueError, match=rf"imbalance_factor {run[0]} and seed {run[1]}.* holds 4:1,2 10:0"):
        load("cifar10", packs)[0].long_tailed(*run)


def test_a_run_from_a_pack_has_the_record_of_the_whole_set(whole, packs):
    experiment = Experiment(imbalance_factor=10, depth=8, epochs=1, batch_size=32, seed=1)
    records = [train(experiment, data, device="cpu") for data in (whole["cifar10"], load("cifar10", packs))]
    for name in ("error", "error_per_class", "curve", "class_counts", "dataset_fingerprint", "subset_fingerprint"):
        assert getattr(records[0], name) == getattr(records[1], name)


def test_a_sweep_from_a_pack_fails_only_the_runs_that_it_lacks(packs, tmp_path):
    budget = dict(imbalance_factor=20, depth=8, epochs=1, batch_size=64)
    outcomes = sweep([Experiment(seed=seed, **budget) for seed in (1, 5)], RunOptions(tmp_path, packs, "cpu"))
    assert (outcomes["finished"], outcomes["failed"]) == (1, 1)


def test_a_pack_can_be_packed_again(whole, packs, tmp_path):
    path = pack_path(tmp_path, "cifar10")
    write_pack(path, {"cifar10": load("cifar10", packs)}, [(10.0, 0)])
    direct = pack_path(tmp_path / "direct", "cifar10")
    write_pack(direct, {"cifar10": whole["cifar10"]}, [(10.0, 0)])
    assert path.read_bytes() == direct.read_bytes()


def test_altered_packs_are_refused(packs, tmp_path):
    content = pack_path(packs, "cifar10").read_bytes()
    path = pack_path(tmp_path, "cifar10")
    for wrong in (content[:-100], content[: len(content) // 2], b"", content.replace(b"RIFF", b"RAFF", 1)):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"cifar10\.pack is truncated or altered .* pack it anew"):
            load("cifar10", tmp_path)


def test_other_pixels_are_refused(packs, tmp_path):
    """A whole archive whose checksums are right, with one image inverted."""
    path = pack_path(tmp_path, "cifar10")
    with zipfile.ZipFile(pack_path(packs, "cifar10")) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "train/003.webp":
                pixels = np.asarray(Image.open(io.BytesIO(content))).copy()
                pixels[:32, :32] = ~pixels[:32, :32]
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, format="WEBP", lossless=True)
                content = file.getvalue()
            new.writestr(name, content)
    with pytest.raises(ValueError, match=r"cifar10\.pack is truncated or altered .*fingerprint"):
        load("cifar10", tmp_path)


def test_refusals(whole, tmp_path):
    path, sets = pack_path(tmp_path, "cifar100"), {"cifar100": whole["cifar10"]}
    write_pack(path, sets, [(20.0, 0)])
    with pytest.raises(ValueError, match="must hold cifar20, .* was packed for cifar100"):
        read_pack(path, "cifar20")
    with pytest.raises(ValueError, match="sets must share their images"):
        write_pack(path, sets | {"cifar20": whole["cifar20"]}, RUNS)
    with pytest.raises(ValueError, match="runs must hold"):
        write_pack(path, sets, [])
    with pytest.raises(ValueError, match="dataset must be one of"):
        pack_path(tmp_path, "digits")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"must be at most 0\.00390625 MiB"):
        write_pack(path, sets, [(20.0, 0)], max_bytes=2**12)
    assert path.read_bytes() == before


def test_the_verb_packs_a_tree(whole, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(CIFAR_SIZES, "cifar10", (10, 60, 7))
    monkeypatch.setattr(sources, "FINGERPRINTS", {})
    for split, data in zip(("train", "test"), whole["cifar10"], strict=True):
        for i, (image, label) in enumerate(zip(data.images, data.targets, strict=True)):
            file = tmp_path / "tree" / split / data.class_names[label] / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
    arguments = ["pack", str(tmp_path), "--data-root", str(tmp_path / "tree")]
    assert main([*arguments, "--runs", "4:1,2", "10:0"]) == 0
    path = pack_path(tmp_path, "cifar10")
    assert f"{path}: {path.stat().st_size / 2**20:.1f} MiB" in capsys.readouterr().out
    packed = load("cifar10", tmp_path)[0]
    assert packed.runs == tuple(RUNS) and packed.fingerprint == whole["cifar10"][0].fingerprint


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--runs", "50"], "runs must be imbalance factors"),
        (["--runs", "x:1"], "runs must be imbalance factors"),
        (["--runs", "50:1", "--dataset", "cifar10", "cifar100"], "dataset must be one"),
    ],
)
def test_the_verb_refuses_in_one_line(options, word, tmp_path, capsys):
    assert main(["pack", str(tmp_path), "--data-root", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and word in error
