"""Large image sets: layouts, class counts, crops, and which image is taken when (Section 5.4, Table 1)."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from replication.data.image_lists import list_images
from replication.data.large_images import (
    IGNORED,
    KeyedImages,
    batch_keys,
    central_crop,
    crop_padding,
    normalise,
    train_transform,
)
from replication.data.large_images import test_transform as evaluation_transform
from replication.report.analysis import published as paper


def _image(path, size=(40, 30), value=120):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path)


@pytest.fixture
def tree(tmp_path):
    for split, counts in (("train", (3, 2)), ("val", (1, 2))):
        for name, count in zip(("ant", "bee"), counts, strict=True):
            for i in range(count):
                _image(tmp_path / split / name / f"{i}.jpg")
    return tmp_path


def _competition(root, year, split, counts, folder=None, names=None):
    """A JSON in the competition's format with so many images a class; the categories in any order."""
    images, annotations = [], []
    for k, count in enumerate(counts):
        for i in range(count):
            number = len(images)
            images.append(dict(id=number, file_name=f"{folder or f'train_val{year}'}/Aves/{k}/{split}{i}.jpg"))
            annotations.append(dict(id=number, image_id=number, category_id=k))
    categories = [
        dict(id=k, name=(names or {}).get(k, f"bird {k}"), supercategory="Aves") for k in reversed(range(len(counts)))
    ]
    (root / f"{split}{year}.json").write_text(
        json.dumps(dict(images=images, annotations=annotations, categories=categories))
    )


# Table 1 prints the imbalance factor; the largest and smallest class are in the authors' lists of counts.
@pytest.mark.parametrize("year, largest, smallest", [("2018", 1000, 2), ("2017", 3919, 9)])
def test_counts_come_from_the_training_json_as_in_table1(tmp_path, year, largest, smallest):
    row = paper.published("table1").set_index("dataset").loc[f"iNaturalist {year}"]
    (tmp_path / f"train_val{year}").mkdir()
    counts = [smallest] * (int(row["classes"]) - 1) + [largest]
    _competition(tmp_path, year, "train", counts)
    _competition(tmp_path, year, "val", [1] * len(counts))
    train, val = list_images(f"inat{year}", tmp_path)
    assert train.class_counts == counts and len(val) == int(row["classes"]) == len(train.class_names)
    assert max(train.class_counts) / min(train.class_counts) == pytest.approx(float(row["imbalance_factor"]), abs=0.005)
    assert train.class_names[:2] == ("bird 0", "bird 1")  # by category id, not by their order in the file


def test_competition_paths_lead_to_the_images(tmp_path):
    _competition(tmp_path, "2018", "train", [2, 1])
    _competition(tmp_path, "2018", "val", [1, 1])
    _image(tmp_path / "2018" / "Aves" / "1" / "train0.jpg", value=200)  # the folder as torchvision renames it
    with pytest.warns(UserWarning, match="2 classes, inat2018 has 8142"):
        train, _ = list_images("inat2018", tmp_path)
    image, target, _ = KeyedImages(train, evaluation_transform(32), 32)[0, 2]
    assert target == 1 and abs(image.float().mean().item() - 200) < 2


@pytest.mark.filterwarnings("ignore:.*classes, inat")
def test_torchvisions_layouts_give_the_same_classes_in_both_splits(tmp_path):
    for split in ("train", "val"):
        for k, supercategory in enumerate(("Aves", "Insecta", "Aves")):
            _image(tmp_path / split / "2018" / supercategory / str(k) / f"{split}{k}.jpg")
    train, val = list_images("inat2018", tmp_path)
    assert train.class_names == val.class_names == ("Aves/0", "Insecta/1", "Aves/2")
    assert all(f"/{t}/" in os.fsdecode(p) for p, t in zip(train.paths, train.targets, strict=True))


def test_folders(tree):
    train, val = list_images("folder", tree)
    assert (train.class_counts, val.class_counts, train.class_names) == ([3, 2], [1, 2], ("ant", "bee"))
    (tree / "val").rename(tree / "test")
    assert list_images("folder", tree)[1].class_counts == [1, 2]


@pytest.mark.filterwarnings("ignore:.*classes, ilsvrc2012")
def test_ilsvrc_through_torchvisions_imagenet_or_class_folders(tree):
    assert list_images("ilsvrc2012", tree)[0].class_names == ("ant", "bee")
    torch.save(({"ant": ("ant", "pismire"), "bee": ("bee",)}, []), tree / "meta.bin")  # as torchvision keeps the devkit
    assert list_images("ilsvrc2012", tree)[0].class_counts == [3, 2]


def test_fingerprint_depends_on_names_and_classes_alone(tree, tmp_path_factory):
    other = tmp_path_factory.mktemp("moved")
    before = list_images("folder", tree)[0].fingerprint
    (tree / "train").rename(other / "train")
    (tree / "val").rename(other / "val")
    assert list_images("folder", other)[0].fingerprint == before
    (other / "train" / "ant" / "0.jpg").rename(other / "train" / "bee" / "9.jpg")
    assert list_images("folder", other)[0].fingerprint != before


def test_wrong_places_and_contents_are_named(tree, tmp_path):
    with pytest.raises(ValueError, match="dataset must be one of inat2017"):
        list_images("cifar10", tree)
    with pytest.raises(ValueError, match="data_root must be a folder that exists, got None"):
        list_images("folder", None)
    with pytest.raises(ValueError, match="data_root must hold train2018.json"):
        list_images("inat2018", tree)
    with pytest.raises(ValueError, match="train/ and test/ or val/"):
        list_images("folder", tree / "train")
    (tree / "val" / "bee").rename(tree / "val" / "wasp")
    with pytest.raises(ValueError, match="must be the same; they differ in bee, wasp"):
        list_images("folder", tree)
    (tree / "train" / "empty").mkdir()
    with pytest.raises(ValueError, match="none in empty"):
        list_images("folder", tree)


@pytest.mark.filterwarnings("ignore:.*classes, inat")
def test_broken_json_is_named(tmp_path):
    _competition(tmp_path, "2018", "val", [1, 1])
    (tmp_path / "train2018.json").write_text('{"images": []}')
    with pytest.raises(ValueError, match=r"train2018.json cannot be used as the competition's JSON \(KeyError"):
        list_images("inat2018", tmp_path)
    _competition(tmp_path, "2018", "train", [1, 1])
    with pytest.raises(ValueError, match="must hold the images of train2018.json in train_val2018/ or 2018/"):
        list_images("inat2018", tmp_path)
    (tmp_path / "2018").mkdir()
    _competition(tmp_path, "2018", "train", [1, 0])
    with pytest.raises(ValueError, match="1 and 2 images, fewest in class bird 1"):
        list_images("inat2018", tmp_path)
    _competition(tmp_path, "2018", "train", [1, 1], names={1: "another bird"})
    with pytest.raises(ValueError, match="they differ in another bird, bird 1"):
        list_images("inat2018", tmp_path)
    (tmp_path / "train2018.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(ValueError, match="holds no annotations"):
        list_images("inat2018", tmp_path)
    bare = dict(images=[dict(id=1, file_name="1.jpg")], annotations=[dict(image_id=1, category_id=1)])
    bare["categories"] = [dict(id=1, name="bird")]
    (tmp_path / "train2018.json").write_text(json.dumps(bare))
    with pytest.raises(ValueError, match="cannot be used as the competition's JSON"):
        list_images("inat2018", tmp_path)


def test_evaluation_crop_is_the_papers():
    assert (crop_padding(224), crop_padding(320)) == (32, 46)
    gradient = np.add.outer(np.arange(300), np.arange(400)).astype(np.uint8)
    image = Image.fromarray(
        np.stack([gradient] * 3, -1)
    )  # 400 wide, 300 high: the crop's side is 300 * 224 / 256 = 262
    box = (400 - 262 + 1) // 2, (300 - 262 + 1) // 2
    expected = image.crop((*box, box[0] + 262, box[1] + 262)).resize((224, 224), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(central_crop(image, 224)), np.asarray(expected))


def test_training_crops_have_the_papers_area_and_aspect():
    """Area 0.08 to 1 of the image, aspect 3/4 to 4/3, both ends reached; half of them mirrored."""
    crop, flip, _ = train_transform(64).transforms
    image = Image.new("RGB", (400, 400))
    drawn = [crop.make_params([image]) for _ in range(400)]
    area = np.array([d["height"] * d["width"] for d in drawn]) / 400**2
    aspect = np.array([d["width"] / d["height"] for d in drawn])
    assert 0.078 < area.min() < 0.12 and 0.85 < area.max() <= 1
    assert 0.74 < aspect.min() < 0.8 and 1.25 < aspect.max() < 1.35
    assert flip.p == 0.5


def test_normalise_uses_the_papers_means_and_deviations():
    pixels = torch.tensor([0.466, 0.471, 0.380]).mul(255).round().to(torch.uint8).view(1, 3, 1, 1)
    assert normalise("inat2018")(pixels).abs().max() < 0.02
    white = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
    expected = [(1 - m) / s for m, s in zip((0.466, 0.471, 0.380), (0.195, 0.194, 0.192), strict=True)]
    assert normalise("inat2017")(white).flatten().tolist() == pytest.approx(expected, rel=1e-5)
    imagenet = [(1 - m) / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]
    assert normalise("ilsvrc2012")(white).flatten().tolist() == pytest.approx(imagenet, rel=1e-5)


def test_crops_depend_on_seed_epoch_and_image_alone(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "train" / "a").mkdir(parents=True)
    for name in ("train/a/0.png", "train/b/0.png", "val/a/0.png", "val/b/0.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (50, 60, 3), dtype=np.uint8)).save(path)
    images = KeyedImages(list_images("folder", tmp_path)[0], train_transform(32), 32, seed=3)
    state = torch.get_rng_state()
    first = images[0, 1][0]
    assert torch.equal(torch.get_rng_state(), state)  # nothing drawn from the process's own stream
    torch.manual_seed(99)
    assert torch.equal(images[0, 1][0], first)
    assert not torch.equal(images[1, 1][0], first)
    assert not torch.equal(KeyedImages(images.files, images.transform, 32, seed=4)[0, 1][0], first)


def test_unreadable_and_missing_images_are_marked(tree):
    (tree / "train" / "ant" / "0.jpg").write_bytes(b"\xff\xd8 not a picture")
    whole = (tree / "train" / "ant" / "1.jpg").read_bytes()
    (tree / "train" / "ant" / "1.jpg").write_bytes(whole[: len(whole) // 2])
    files, _ = list_images("folder", tree)
    (tree / "train" / "bee" / "0.jpg").unlink()
    targets = [KeyedImages(files, evaluation_transform(32), 32)[0, i][1] for i in range(5)]
    assert targets == [IGNORED, IGNORED, 0, IGNORED, 1]


@pytest.mark.parametrize("processes, micro", [(1, 4), (2, 2), (4, 3), (3, None)])
def test_any_number_of_processes_sees_the_same_batches(processes, micro):
    alone = list(batch_keys(50, 12, range(3, 11), seed=1))
    parts = [
        list(batch_keys(50, 12, range(3, 11), 1, rank=r, processes=processes, micro_batch=micro))
        for r in range(processes)
    ]
    size = 12 // processes
    flat = [[key for batch in part for key in batch] for part in parts]
    merged = [[key for part in flat for key in part[k * size : (k + 1) * size]] for k in range(8)]
    assert merged == alone
    assert {len(b) for part in parts for b in part} == {micro or size}


def test_each_epoch_takes_every_image_once():
    keys = [key for batch in batch_keys(50, 12, range(25), seed=1) for key in batch]  # 25 x 12 = 6 epochs
    for epoch in range(6):
        assert sorted(i for e, i in keys if e == epoch) == list(range(50))
    assert keys[:50] != [(0, i) for _, i in keys[50:100]]  # another order
