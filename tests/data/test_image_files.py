"""A user's own images: one list and one way to open them for train, sweep and large-scale."""

import os
import re

import numpy as np
import pytest
from PIL import Image, ImageOps

from replication.data import folder
from replication.data.image_files import list_class_folders, open_image
from replication.data.image_lists import list_images
from replication.data.image_set import ImageSet
from replication.data.large_images import KeyedImages
from replication.data.large_images import test_transform as evaluation_transform
from replication.data.sources import load

GREY = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))  # (32, 32)


def save(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(GREY) if image is None else image).save(path, **options)


@pytest.fixture
def tree(tmp_path):
    for split in ("train", "test"):
        for name in "ab":
            save(tmp_path / split / name / "0.png")
    return tmp_path


def test_both_readers_take_the_same_files_and_say_what_they_left_out(tree, capsys):
    a = tree / "train" / "a"
    for name in ("1.webp", "2.bmp", "3.tif", "4.gif", "5.JPEG", "more/deeper/6.png", "more/7.ppm"):
        save(a / name)
    save(a / ".ipynb_checkpoints" / "0.png")
    (a / "._0.png").write_bytes(b"\0\5\x16\7" + bytes(60))
    (a / "notes.txt").write_text("x")
    (a / "README").write_text("x")
    (tree / "train" / ".DS_Store").write_text("x")
    (tree / "train" / "index.csv").write_text("x")
    (tree / "train" / ".cache").mkdir()
    (a / "gone.png").symlink_to(tree / "gone.png")
    (a / "more" / "above").symlink_to(a)
    os.mkfifo(a / "waits.png")  # a reader of it would wait for ever
    in_memory = load("folder", tree)[0]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"left out of {tree / 'train'}: ")
    counts = dict(part.split(" ", 1)[::-1] for part in lines[0].split(": ")[1].split(", "))
    assert counts == {
        "hidden": "2",
        "hidden folders": "1",
        "with the ending .txt": "1",
        "with the ending .csv": "1",
        "without an ending": "1",
        "that are no files": "2",
        "links to a folder above": "1",
    }
    files = list_images("folder", tree)[0]
    taken = [os.path.relpath(os.fsdecode(p), a) for p, k in zip(files.paths, files.targets, strict=True) if k == 0]
    names = ["0.png", "1.webp", "2.bmp", "3.tif", "4.gif", "5.JPEG", "more/7.ppm", "more/deeper/6.png"]
    assert [name.replace(os.sep, "/") for name in taken] == names
    assert in_memory.class_counts == files.class_counts == [8, 1]
    assert in_memory.class_names == files.class_names == ("a", "b")


def test_nothing_is_said_where_nothing_is_left_out(tree, capsys):
    load("folder", tree)
    list_images("folder", tree)
    assert capsys.readouterr() == ("", "")


def test_a_class_without_images_says_why(tree):
    for name in ("1.heic", "2.heic"):
        (tree / "train" / "c").mkdir(exist_ok=True)
        (tree / "train" / "c" / name).write_text("x")
    for read in (load, list_images):
        with pytest.raises(ValueError, match=r"each class folder; none in c \(left out: 2 with the ending \.heic\)"):
            read("folder", tree)


def test_val_does_where_there_is_no_test(tree):
    (tree / "test").rename(tree / "val")
    assert len(load("folder", tree)[1]) == len(list_images("folder", tree)[1]) == 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(orientation, tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(256, size=(3, 5, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for ending in ("png", "webp", "tif"):
        path = tmp_path / f"{orientation}.{ending}"
        image.save(path, exif=exif, **({"lossless": True} if ending == "webp" else {}))
        with Image.open(path) as raw:
            expected = np.asarray(ImageOps.exif_transpose(raw).convert("RGB"))
        assert np.array_equal(np.asarray(open_image(path)), expected)
        assert expected.shape[1::-1] == ((5, 3) if orientation < 5 else (3, 5))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_lose_the_image(tmp_path):
    save(tmp_path / "x.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert open_image(tmp_path / "x.jpg").size == (32, 32)


@pytest.mark.parametrize(("ending", "order"), [("png", "<u2"), ("tif", "<u2"), ("tif", ">u2"), ("pgm", "<u2")])
def test_sixteen_bits_look_like_eight(ending, order, tmp_path):
    """257 k is k in 16 bits: the image must be that of 8 bits, in both readers."""
    path = tmp_path / f"x.{ending}"
    Image.fromarray((GREY.astype(np.uint16) * 257).astype(order)).save(path)
    assert np.array_equal(np.asarray(open_image(path)), np.stack([GREY] * 3, -1))


def test_both_readers_open_sixteen_bits_alike(tree):
    save(tree / "train" / "a" / "1.png", Image.fromarray(GREY.astype(np.uint16) * 257))
    train = load("folder", tree)[0]
    assert np.array_equal(train.images[0], train.images[1])
    images = KeyedImages(list_images("folder", tree)[0], evaluation_transform(32), 32)
    assert (images[0, 0][0] == images[0, 1][0]).all()


def test_palettes_and_transparency(tmp_path):
    red = (255, 0, 0)
    palette = Image.new("RGB", (2, 1), red).quantize(4)
    save(tmp_path / "p.png", palette)
    assert open_image(tmp_path / "p.png").getpixel((0, 0)) == red
    half = Image.new("RGBA", (2, 1), (*red, 255))
    half.putpixel((1, 0), (0, 0, 0, 0))
    save(tmp_path / "a.png", half)
    save(tmp_path / "t.png", Image.fromarray(np.array([[0, 7]], np.uint8)), transparency=7)
    save(tmp_path / "la.png", Image.new("LA", (1, 1), (100, 0)))
    assert [open_image(tmp_path / "a.png").getpixel((x, 0)) for x in (0, 1)] == [red, (255, 255, 255)]
    assert [open_image(tmp_path / "t.png").getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), (255, 255, 255)]
    assert open_image(tmp_path / "la.png").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_other_depths_are_refused(dtype, tmp_path):
    path = tmp_path / "x.tif"
    Image.fromarray(np.ones((2, 2), dtype)).save(path)
    with pytest.raises(ValueError, match="8 or 16 bits"):
        open_image(path)


def test_sizes_and_memory_are_looked_at_before_anything_is_decoded(tree, monkeypatch):
    decoded = []
    monkeypatch.setattr(folder, "open_image", lambda path: decoded.append(path) or open_image(path))
    monkeypatch.setattr(folder, "_memory", lambda: 1000.0)
    with pytest.raises(ValueError, match=r"2 images of 32x32 .* or use large-scale"):
        load("folder", tree)
    save(tree / "train" / "a" / "1.png", Image.new("RGB", (20000, 1)))
    with pytest.raises(ValueError, match=r"1\.png must have the size of the other images, 32x32, got 1x20000"):
        load("folder", tree)
    assert len(decoded) == 2  # the first image, each time


def test_images_are_compared_upright(tree):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a", "b"):
        save(tree / "train" / name / "0.png", Image.new("RGB", (5, 3)))
        save(tree / "test" / name / "0.png", Image.new("RGB", (5, 3)))
    save(tree / "train" / "a" / "1.jpg", Image.new("RGB", (3, 5)), exif=exif)
    assert load("folder", tree)[0].images.shape == (3, 3, 5, 3)
    save(tree / "train" / "a" / "2.jpg", Image.new("RGB", (3, 5)))
    with pytest.raises(ValueError, match=r"2\.jpg must have the size of the other images, 5x3, got 3x5"):
        load("folder", tree)


def test_natural_keeps_all_images_whatever_their_order():
    rng = np.random.default_rng(0)
    images, targets = rng.integers(256, size=(31, 4, 4, 3), dtype=np.uint8), np.repeat([0, 1, 2], [20, 8, 3])
    data = ImageSet(images, targets, ("a", "b", "c"))
    order = rng.permutation(31)
    kept, again = data.long_tailed("natural", 1), data.subset(order).long_tailed("natural", 1)
    assert kept.class_counts == [20, 8, 3] and kept.fingerprint == data.fingerprint
    assert np.array_equal(kept.images, again.images) and np.array_equal(kept.targets, again.targets)
    assert data.long_tailed(3, 1).class_counts == [3, 1, 1]
    with pytest.raises(ValueError, match="got 4.* 3 to 20 images"):
        data.long_tailed(4, 1)


def write_lists(root, train=(0, 0, 1), test=(1, 0), names=("x_LT_train.txt", "x_LT_test.txt")):
    for name, labels in zip(names, (train, test), strict=True):
        lines = []
        for i, label in enumerate(labels):
            place = f"images/of a kind/{name[:-4]} {i}.png"
            save(root / place)
            lines.append(f"{place} {label}\n")
        (root / name).write_text("\ufeff" + "".join(lines), encoding="utf-8")


def test_large_scale_reads_lists_of_files(tmp_path):
    write_lists(tmp_path)
    train, test = list_images("folder", tmp_path)
    assert (train.class_counts, test.class_counts) == ([2, 1], [1, 1])
    assert train.class_names == test.class_names == ("0", "1")
    assert KeyedImages(train, evaluation_transform(32), 32)[0, 2][1] == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("images/x.png", "line 2, must hold a path and a class number"),
        ("images/x.png dog", "line 2, must hold a path and a class number"),
        ("images/x.png -1", "line 2, must hold a path and a class number"),
        ("images/x.png 5", "must hold images of each class"),
        ("images/x.png " + "9" * 5000, "line 2, must hold a path and a class number"),
    ],
)
def test_lines_of_a_list_that_are_wrong(line, words, tmp_path):
    write_lists(tmp_path, train=(0,), test=(0,))
    path = tmp_path / "x_LT_train.txt"
    path.write_text(path.read_text(encoding="utf-8") + line, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        list_images("folder", tmp_path)


def test_a_tab_will_do_between_path_and_class(tmp_path):
    write_lists(tmp_path)
    wanted = list_images("folder", tmp_path)[0]
    path = tmp_path / "x_LT_train.txt"
    path.write_text(re.sub(r" (\d+)$", r"\t\1\r", path.read_text(encoding="utf-8"), flags=re.M), encoding="utf-8")
    found = list_images("folder", tmp_path)[0]
    assert (found.paths == wanted.paths).all() and (found.targets == wanted.targets).all()


def test_lists_that_are_wrong(tmp_path):
    write_lists(tmp_path)
    (tmp_path / "images").rename(tmp_path / "pictures")
    with pytest.raises(ValueError, match=r"must be relative to .*train 0\.png is not there"):
        list_images("folder", tmp_path)
    (tmp_path / "y_LT_train.txt").write_text("")
    with pytest.raises(ValueError, match=r"one list \*train\.txt, got x_LT_train\.txt, y_LT_train\.txt"):
        list_images("folder", tmp_path)
    (tmp_path / "x_LT_train.txt").unlink()
    with pytest.raises(ValueError, match=r"y_LT_train\.txt must hold .* empty"):
        list_images("folder", tmp_path)
    (tmp_path / "y_LT_train.txt").write_text("a/1.png 0", encoding="utf-16")
    with pytest.raises(ValueError, match=r"y_LT_train\.txt must be a text file in UTF-8"):
        list_images("folder", tmp_path)


def test_list_order_is_torchvisions(tree):
    """Batches of committed large-scale records follow this order."""
    from torchvision.datasets import ImageFolder

    for name in ("c-d/1.png", "c/1.png", "c/e/2.png", "c/e-f/3.png", "c/e/g/4.png", "B/0.png"):
        save(tree / "train" / name)
        save(tree / "train" / "a" / name)
    names, images = list_class_folders(tree / "train")
    reference = ImageFolder(tree / "train")
    assert list(names) == reference.classes and images == reference.samples
