"""Sources: small archives and trees in the real formats, written by the tests; every fault has one clear error."""

import gzip
import hashlib
import io
import os
import pickle
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100, FashionMNIST, utils

from replication.data import folder, sources
from replication.data.sources import CIFAR_SIZES, FASHION_FOLDERS, SUPERCLASSES, load

COARSE = (  # CIFAR-100's coarse label of each fine label in alphabetical order, as its own files give it
    "4 1 14 8 0 6 7 7 18 3 3 14 9 18 7 11 3 9 7 11 6 11 5 10 7 "
    "6 13 15 3 15 0 11 1 10 12 14 16 9 11 5 5 19 8 8 15 13 14 17 18 10 "
    "16 4 17 4 2 0 17 4 18 17 10 3 2 12 12 16 12 1 9 19 2 10 0 1 16 "
    "12 9 13 15 13 16 19 2 4 6 19 5 5 8 19 18 1 2 15 6 0 17 8 14 13"
)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def small(monkeypatch):
    """CIFAR-10 with 3 training and 2 test images a class: (train images, targets), (test images, targets)."""
    monkeypatch.setitem(CIFAR_SIZES, "cifar10", (10, 3, 2))
    monkeypatch.setattr(sources, "FINGERPRINTS", {})
    rng = np.random.default_rng(0)
    sets = [
        (rng.integers(256, size=(10 * k, 32, 32, 3), dtype=np.uint8), rng.permutation(np.arange(10 * k) % 10))
        for k in (3, 2)
    ]
    return sets


def write_tree(root, sets, names=CLASSES, ending="png"):
    for split, (images, targets) in zip(("train", "test"), sets, strict=True):
        for i, (image, label) in enumerate(zip(images, targets, strict=True)):
            folder = root / split / names[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{i:04d}.{ending}")


@pytest.fixture
def archive(small, tmp_path, monkeypatch):
    """The same images as torchvision's archive, with checksums to match."""
    (images, targets), (test_images, test_targets) = small
    parts = np.array_split(np.arange(len(images)), 5)

    def batch(images, targets):
        return {"data": images.transpose(0, 3, 1, 2).reshape(len(images), -1), "labels": targets.tolist()}

    files = {f"data_batch_{k + 1}": batch(images[p], targets[p]) for k, p in enumerate(parts)}
    files["test_batch"] = batch(test_images, test_targets)
    files["batches.meta"] = {"label_names": list(CLASSES)}
    blobs = {name: pickle.dumps(content) for name, content in files.items()}
    path = tmp_path / CIFAR10.filename
    with tarfile.open(path, "w:gz") as tar:
        for name, blob in blobs.items():
            info = tarfile.TarInfo(f"{CIFAR10.base_folder}/{name}")
            info.size = len(blob)
            tar.addfile(info, io.BytesIO(blob))
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(path.read_bytes()))
    monkeypatch.setattr(
        CIFAR10, "train_list", [[f"data_batch_{k}", md5(blobs[f"data_batch_{k}"])] for k in range(1, 6)]
    )
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5(blobs["test_batch"])]])
    monkeypatch.setattr(
        CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": md5(blobs["batches.meta"])}
    )
    return path


def test_archive_and_tree_are_the_same_set_and_give_the_same_subset(small, archive, tmp_path):
    write_tree(tmp_path / "tree" / "cifar10", small)
    from_archive, from_tree = load("cifar10", tmp_path), load("cifar10", tmp_path / "tree")
    for a, b in zip(from_archive, from_tree, strict=True):
        assert a.class_names == b.class_names == CLASSES
        assert a.fingerprint == b.fingerprint
        assert (a.images.dtype, a.targets.dtype, b.images.dtype, b.targets.dtype) == (np.uint8, np.int64) * 2
    kept, again = (s[0].long_tailed(3, seed=1) for s in (from_archive, from_tree))
    assert (kept.images == again.images).all() and (kept.targets == again.targets).all()
    assert kept.class_counts == [3, 2, 2, 2, 1, 1, 1, 1, 1, 1]


def test_unpacking_that_was_interrupted_begins_anew(archive, tmp_path, monkeypatch):
    """Ctrl-C leaves half a folder under another name; what SIGKILL leaves is the same."""
    extract = utils.extract_archive

    def interrupted(source, target):
        extract(source, target)
        (target / CIFAR10.base_folder / "test_batch").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(utils, "extract_archive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load("cifar10", tmp_path)
    assert not (tmp_path / CIFAR10.base_folder).exists()
    monkeypatch.setattr(utils, "extract_archive", extract)
    assert len(load("cifar10", tmp_path)[1]) == 20
    assert {p.name for p in tmp_path.iterdir()} <= {CIFAR10.filename, CIFAR10.base_folder, ".CIFAR10.lock"}


def test_a_second_process_waits_for_the_unpacking(archive, tmp_path, monkeypatch):
    extract, calls = utils.extract_archive, []

    def slow(source, target):
        calls.append(target)
        time.sleep(0.3)
        extract(source, target)

    monkeypatch.setattr(utils, "extract_archive", slow)
    with ThreadPoolExecutor(3) as pool:
        sets = list(pool.map(lambda _: load("cifar10", tmp_path), range(3)))
    assert len(calls) == 1 and len({train.fingerprint for train, _ in sets}) == 1


def test_an_altered_archive_is_refused_before_anything_is_unpickled(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(pickle, "load", lambda *a, **k: pytest.fail("unpickled an altered file"))
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"{CIFAR10.filename} is truncated or altered"):
        load("cifar10", tmp_path)
    assert not (tmp_path / CIFAR10.base_folder).exists()


def test_an_altered_batch_is_refused_before_anything_is_unpickled(archive, tmp_path, monkeypatch):
    load("cifar10", tmp_path)
    batch = tmp_path / CIFAR10.base_folder / "data_batch_2"
    batch.write_bytes(batch.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(pickle, "load", lambda *a, **k: pytest.fail("unpickled an altered file"))
    with pytest.raises(ValueError, match=rf"{CIFAR10.base_folder} is truncated or altered"):
        load("cifar10", tmp_path)


def test_fingerprint_does_not_depend_on_order_but_on_pixels_and_labels(small, tmp_path):
    write_tree(tmp_path, small)
    train, _ = load("cifar10", tmp_path)
    order = np.random.default_rng(2).permutation(len(train))
    assert train.subset(order).fingerprint == train.fingerprint
    pixel = train.images.copy()
    pixel[0, 0, 0, 0] ^= 1
    label = train.targets.copy()
    label[0] = (label[0] + 1) % 10
    changed = [sources.ImageSet(pixel, train.targets, CLASSES), sources.ImageSet(train.images, label, CLASSES)]
    assert len({s.fingerprint for s in [train, *changed]}) == 3


def test_a_tree_with_other_pixels_than_the_known_ones_is_refused(small, tmp_path, monkeypatch):
    write_tree(tmp_path, small)
    monkeypatch.setattr(sources, "FINGERPRINTS", {("cifar10", "train"): "0" * 16})
    with pytest.raises(ValueError, match="train is altered"):
        load("cifar10", tmp_path)


def test_a_truncated_tree_is_refused(small, tmp_path):
    write_tree(tmp_path, small)
    next((tmp_path / "train" / "frog").iterdir()).unlink()
    with pytest.raises(ValueError, match="train is not cifar10"):
        load("cifar10", tmp_path)


def test_decoded_once_and_decoded_anew_when_a_file_changes(small, tmp_path, monkeypatch):
    write_tree(tmp_path, small)
    first, _ = load("cifar10", tmp_path)
    held = tmp_path / ".train.decoded.npz"
    assert held.is_file()
    decode = folder._read_images
    monkeypatch.setattr(folder, "_read_images", lambda files: pytest.fail("decoded again"))
    assert load("cifar10", tmp_path)[0].fingerprint == first.fingerprint
    monkeypatch.setattr(folder, "_read_images", decode)
    path = next((tmp_path / "train" / "frog").iterdir())
    Image.new("RGB", (32, 32), "red").save(path)
    os.utime(path, ns=(1, 1))
    assert load("cifar10", tmp_path)[0].fingerprint != first.fingerprint


def test_a_broken_cache_is_not_used(small, tmp_path):
    write_tree(tmp_path, small)
    first, _ = load("cifar10", tmp_path)
    held = tmp_path / ".train.decoded.npz"
    held.write_bytes(held.read_bytes()[:500])
    assert load("cifar10", tmp_path)[0].fingerprint == first.fingerprint


def test_folder_of_jpegs_and_its_faults(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(8, 16, 16, 3), dtype=np.uint8)
    write_tree(tmp_path, [(images, np.arange(8) % 2), (images[:4], np.arange(4) % 2)], ("a", "b"), "jpg")
    train, test = load("folder", tmp_path)
    assert train.images.shape == (8, 16, 16, 3) and test.class_counts == [2, 2]
    broken = tmp_path / "train" / "b" / "broken.png"
    broken.write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read"):
        load("folder", tmp_path)
    Image.new("RGB", (8, 8)).save(broken)
    with pytest.raises(ValueError, match=r"broken\.png must have the size"):
        load("folder", tmp_path)
    broken.unlink()
    (tmp_path / "test" / "c").mkdir()
    with pytest.raises(ValueError, match="none in c"):
        load("folder", tmp_path)
    Image.new("RGB", (16, 16)).save(tmp_path / "test" / "c" / "1.png")
    with pytest.raises(ValueError, match="the same classes.* c"):
        load("folder", tmp_path)


def test_cifar20_by_the_table_agrees_with_the_label_list_of_the_data_set():
    fine = sorted(name for _, members in SUPERCLASSES for name in members.split())
    coarse = {name: k for k, (_, members) in enumerate(SUPERCLASSES) for name in members.split()}
    assert len(fine) == 100
    assert [coarse[name] for name in fine] == list(map(int, COARSE.split()))


def test_cifar100_and_20_from_a_tree(tmp_path, monkeypatch):
    monkeypatch.setitem(CIFAR_SIZES, "cifar100", (100, 1, 1))
    monkeypatch.setattr(sources, "FINGERPRINTS", {})
    names = sorted(name for _, members in SUPERCLASSES for name in members.split())
    images = np.random.default_rng(0).integers(256, size=(100, 32, 32, 3), dtype=np.uint8)
    write_tree(tmp_path, [(images, np.arange(100))] * 2, names)
    fine, coarse = load("cifar100", tmp_path)[0], load("cifar20", tmp_path)[0]
    assert fine.class_counts == [1] * 100 and coarse.class_counts == [5] * 20
    assert coarse.class_names[coarse.targets[fine.class_names.index("whale")]] == "aquatic_mammals"
    assert (fine.images == coarse.images).all()


@pytest.mark.parametrize("folder", FASHION_FOLDERS[:2])
def test_fashion_mnist_in_both_layouts(tmp_path, monkeypatch, folder):
    rng = np.random.default_rng(0)
    resources = []
    for n, (images, labels) in zip((20, 10), (FashionMNIST.resources[:2], FashionMNIST.resources[2:]), strict=True):
        pixels = rng.integers(256, size=(n, 28, 28), dtype=np.uint8)
        for (name, _), blob in (
            (images, b"\0" * 16 + pixels.tobytes()),
            (labels, b"\0" * 8 + bytes(range(10)) * (n // 10)),
        ):
            packed = gzip.compress(blob)
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_bytes(packed)
            resources.append((name, md5(packed)))
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    train, test = load("fashion_mnist", tmp_path)
    assert train.images.shape == (20, 28, 28, 1) and train.class_counts == [2] * 10 and len(test) == 10
    assert (train.images == np.random.default_rng(0).integers(256, size=(20, 28, 28), dtype=np.uint8)[..., None]).all()
    path = tmp_path / folder / resources[0][0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{resources[0][0]} is truncated or altered"):
        load("fashion_mnist", tmp_path)


def test_digits_need_nothing_and_split_without_overlap():
    train, test = load("digits")
    assert len(train) + len(test) == 1797 and test.class_counts == [50] * 10
    assert train.images.max() == 240 and train.images.shape[1:] == (8, 8, 1)
    kept = {x.tobytes() for x in train.images}
    assert not any(x.tobytes() in kept for x in test.images)


@pytest.mark.parametrize(
    ("dataset", "root", "words"),
    [
        ("svhn", None, "dataset must be one of"),
        ("cifar10", None, "data_root must be given"),
        ("cifar10", "missing", "data_root must be a folder that exists"),
        ("cifar10", ".", r"data_root must hold cifar-10-python\.tar\.gz"),
        ("cifar100", ".", r"data_root must hold cifar-100-python\.tar\.gz"),
        ("fashion_mnist", ".", "data_root must hold train-images"),
        ("folder", ".", "data_root must hold train/ and test/ or val/"),
    ],
)
def test_missing_data(tmp_path, monkeypatch, dataset, root, words):
    monkeypatch.setattr(sources, "FASHION_FOLDERS", FASHION_FOLDERS[:2])
    with pytest.raises(ValueError, match=words):
        load(dataset, root and tmp_path / root)
    assert not list(tmp_path.iterdir())


def test_download_uses_torchvision_and_its_failure_is_one_clear_error(tmp_path, monkeypatch):
    calls = []

    def offline(*arguments):
        calls.append(arguments)
        raise RuntimeError("no network")

    monkeypatch.setattr(utils, "download_url", offline)
    with pytest.raises(ValueError, match="download of cifar100 into .* failed: no network"):
        load("cifar100", tmp_path, download=True)
    assert calls == [(CIFAR100.url, tmp_path, CIFAR100.filename, CIFAR100.tgz_md5)]
    with pytest.raises(ValueError, match="download must be off"):
        load("folder", tmp_path, download=True)
