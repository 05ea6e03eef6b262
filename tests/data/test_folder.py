"""A folder of images, a folder per class."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlayers import DataError
from cnnlayers.data.datasets import image_folder, read_image


def draw(seed, h=8, w=8, c=3):
    a = np.random.default_rng(seed).integers(0, 256, (h, w, c), dtype=np.uint8)
    return a[..., 0] if c == 1 else a


def put(path, a, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(a).save(path, **options)


@pytest.fixture
def pets(tmp_path):
    """Three cats, two dogs, and things that are no images."""
    for name, seeds in (("dog", (3, 4)), ("cat", (0, 1, 2))):
        for seed in seeds:
            put(tmp_path / "pets" / name / f"{seed}.png", draw(seed))
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "pets" / ".cache").mkdir()
    return tmp_path / "pets"


def test_images_labels_and_names(pets):
    data = image_folder(pets, 8, val=0)
    assert data.classes == ("cat", "dog")
    assert data.train[1].tolist() == [0, 0, 0, 1, 1]
    assert data.train[1].dtype == np.int64
    assert data.train[0].dtype == np.uint8
    np.testing.assert_array_equal(data.train[0], np.stack([draw(seed) for seed in range(5)]))


def test_images_are_in_the_order_of_their_names_on_every_system(tmp_path, monkeypatch):
    """Paths of Windows are compared without regard to capitals, and names are not."""
    for seed, name in enumerate("aBc"):
        put(tmp_path / "pets" / "cat" / f"{name}.png", draw(seed))
    monkeypatch.setattr(Path, "__lt__", lambda one, other: str(one).lower() < str(other).lower())
    x, _ = image_folder(tmp_path / "pets", 8, val=0).train
    np.testing.assert_array_equal(x, [draw(seed) for seed in (1, 0, 2)])


def test_parts_are_drawn(pets):
    data = image_folder(pets, 8, val=1, test=2)
    assert repr(data) == "Dataset(train=2, val=1, test=2 images of 8 x 8 x 3, 2 classes)"
    together = np.concatenate([data.train[0], data.val[0], data.test[0]])
    assert len({image.tobytes() for image in together}) == 5


def test_folders_for_the_parts(tmp_path):
    for part, seeds in (("train", (0, 1)), ("test", (2,)), ("val", (3,))):
        for name in ("a", "b"):
            for seed in seeds:
                put(tmp_path / part / name / f"{seed}.png", draw(seed))
    data = image_folder(tmp_path, 8)
    assert repr(data) == "Dataset(train=4, val=2, test=2 images of 8 x 8 x 3, 2 classes)"
    put(tmp_path / "test" / "c" / "0.png", draw(0))
    with pytest.raises(DataError, match="test: expected folders of the classes a, b; found c"):
        image_folder(tmp_path, 8)


def test_a_class_may_be_named_train(tmp_path):
    for name in ("train", "whale"):
        put(tmp_path / name / "0.png", draw(0))
    assert image_folder(tmp_path, 8, val=0).classes == ("train", "whale")


def test_sizes(tmp_path):
    """A wide image is cut to the middle, then scaled; height comes first."""
    a = np.zeros((8, 24, 3), np.uint8)
    a[:, 7:17] = 100
    put(tmp_path / "a" / "0.png", a)
    assert image_folder(tmp_path, 8, val=0).train[0].shape == (1, 8, 8, 3)
    np.testing.assert_array_equal(read_image(tmp_path / "a" / "0.png", 4), np.full((4, 4, 3), 100))
    assert read_image(tmp_path / "a" / "0.png", (3, 5)).shape == (3, 5, 3)
    assert read_image(tmp_path / "a" / "0.png", np.int64(64)).shape == (64, 64, 3)


def test_gray(tmp_path):
    put(tmp_path / "a" / "0.png", draw(0, c=1))
    put(tmp_path / "a" / "1.png", draw(0))
    gray = image_folder(tmp_path, 8, channels=1, val=0).train[0]
    assert gray.shape == (2, 8, 8, 1)
    np.testing.assert_array_equal(gray[0, ..., 0], draw(0, c=1))
    np.testing.assert_allclose(gray[1, ..., 0], draw(0) @ [0.299, 0.587, 0.114], atol=1)  # ITU-R 601-2 luma
    colour = image_folder(tmp_path, 8, val=0).train[0]
    np.testing.assert_array_equal(colour[0], np.repeat(draw(0, c=1)[..., np.newaxis], 3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "gif", "jpg", "JPEG", "jfif", "jpe", "webp"])
def test_formats(tmp_path, suffix):
    smooth = np.full((8, 8, 3), 90, np.uint8)
    put(tmp_path / "a" / f"0.{suffix}", smooth)
    x = image_folder(tmp_path, 8, val=0).train[0]
    np.testing.assert_allclose(x[0], smooth, atol=3)


def test_a_photograph_that_lies_on_its_side(tmp_path):
    """EXIF orientation 6: the camera was turned; the first column of the file is the top."""
    exif = Image.Exif()
    exif[0x0112] = 6
    put(tmp_path / "a" / "0.png", draw(0), exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a" / "0.png", 8), np.rot90(draw(0), -1))


def test_transparency_and_palettes(tmp_path):
    put(tmp_path / "a" / "0.png", np.full((8, 8, 4), [50, 50, 50, 0], np.uint8))
    Image.fromarray(np.full((8, 8, 3), 50, np.uint8)).convert("P").save(tmp_path / "a" / "1.png")
    for background in (255, (9, 8, 7)):
        x = image_folder(tmp_path, 8, val=0, background=background).train[0]
        np.testing.assert_array_equal(x[0], np.broadcast_to(background, (8, 8, 3)))
        np.testing.assert_allclose(x[1], 50, atol=10)


# How folders are laid out


def layout(root, *folders, n=2):
    """Images in these folders: n in each, all different."""
    for seed, folder in enumerate(folders):
        for i in range(n):
            put(root / folder / f"{i}.png", draw(100 * seed + i))
    return root


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "valid", "test"),
        ("Train", "validation", "Test"),
        ("TRAINING", "Dev", "testing"),
        ("training_set", "val-set", "test_set"),
    ],
)
def test_names_of_the_parts(tmp_path, train, val, test):
    layout(tmp_path, *(f"{part}/{name}" for part in (train, val, test) for name in "ab"))
    data = image_folder(tmp_path, 8)
    assert repr(data) == "Dataset(train=4, val=4, test=4 images of 8 x 8 x 3, 2 classes)"
    np.testing.assert_array_equal(data.train[0][0], draw(0))
    np.testing.assert_array_equal(data.val[0][0], draw(200))
    np.testing.assert_array_equal(data.test[0][0], draw(400))


@pytest.mark.parametrize("junk", ["__MACOSX", "@eaDir", ".ipynb_checkpoints", "lost+found", "#recycle"])
def test_folders_of_systems_and_editors_are_ignored(tmp_path, junk):
    layout(tmp_path, "cat", "dog", f"{junk}/cat", f"cat/{junk}")
    (tmp_path / "cat" / "._0.png").write_bytes(bytes(100))
    (tmp_path / "cat" / "Thumbs.db").write_bytes(bytes(100))
    (tmp_path / "cat" / ".DS_Store").write_bytes(bytes(100))
    assert repr(image_folder(tmp_path, 8, val=0)) == "Dataset(train=4 images of 8 x 8 x 3, 2 classes)"
    layout(tmp_path / "parts", "train/a", "train/b", "val/a", "val/b", f"{junk}/train/a", f"train/{junk}/a")
    assert image_folder(tmp_path / "parts", 8).classes == ("a", "b")


@pytest.mark.parametrize(
    "folders",
    [
        ("archive/cat", "archive/dog"),
        ("archive/pets/cat", "archive/pets/dog", "__MACOSX/pets/cat"),
        ("archive/train/cat", "archive/train/dog"),
        (
            "training_set/training_set/cat",
            "training_set/training_set/dog",
            "test_set/test_set/cat",
            "test_set/test_set/dog",
        ),
    ],
)
def test_a_level_too_many(tmp_path, folders):
    layout(tmp_path, *folders)
    data = image_folder(tmp_path, 8, val=0)
    assert data.classes == ("cat", "dog")
    assert len(data.train[1]) == 4


def test_a_link_to_itself_ends(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path)
    with pytest.raises(DataError, match="expected images"):
        image_folder(tmp_path, 8)


def test_one_class_is_no_level_too_many(tmp_path):
    layout(tmp_path, "cat")
    assert image_folder(tmp_path, 8, val=0).classes == ("cat",)
    layout(tmp_path / "parts", "train/cat", "test/cat")
    assert image_folder(tmp_path / "parts", 8, val=0).classes == ("cat",)


def test_numbers_are_sorted_as_numbers(tmp_path):
    layout(tmp_path / "digits", *map(str, range(11)))
    data = image_folder(tmp_path / "digits", 8, val=0)
    assert data.classes == tuple(map(str, range(11)))
    np.testing.assert_array_equal(data.train[0][data.train[1] == 10][0], draw(1000))
    layout(tmp_path / "mixed", "10", "9", "x")
    assert image_folder(tmp_path / "mixed", 8, val=0).classes == ("10", "9", "x")
    layout(tmp_path / "padded", "10", "09", "1")
    assert image_folder(tmp_path / "padded", 8, val=0).classes == ("1", "09", "10")


KNOWN = r"train \(training\); val \(valid, validation, dev\); test \(testing\)"


@pytest.mark.parametrize(
    ("folders", "text"),
    [
        (("train/a", "holdout/a"), rf"understood train as train; found besides holdout\. Names of parts.* are {KNOWN}"),
        (("train/a", "Training/a"), r"expected one folder for training.*understood Training as train, train as train"),
        (("val/a", "Test/a"), rf"expected one folder for training.*understood Test as test, val as val.*{KNOWN}"),
        (("images/a", "masks/a"), rf"images: expected images .* found none\. Each folder in .* for a class.*{KNOWN}"),
        (("train/a", "train/b", "test"), r"understood train as train; found besides test"),
    ],
)
def test_layouts_that_are_not_understood(tmp_path, folders, text):
    layout(tmp_path, *folders)
    with pytest.raises(DataError, match=text):
        image_folder(tmp_path, 8)


# Classes that are given


def test_given_classes_have_the_order_given(pets):
    plain, data = image_folder(pets, 8, val=0), image_folder(pets, 8, val=0, classes=["dog", "cat"])
    assert data.classes == ("dog", "cat")
    assert data.train[1].tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_array_equal(data.train[0], plain.train[0][[3, 4, 0, 1, 2]])


@pytest.mark.parametrize("kind", ["empty", "absent"])
def test_a_class_without_images_keeps_its_place(pets, kind):
    if kind == "empty":
        (pets / "cow").mkdir()
    with pytest.warns(UserWarning, match=r"image_folder: .*pets has no images of cow$") as noted:
        data = image_folder(pets, 8, val=0, classes=("cat", "cow", "dog"))
    assert len(noted) == 1
    assert noted[0].filename == __file__
    assert data.classes == ("cat", "cow", "dog")
    assert data.train[1].tolist() == [0, 0, 0, 2, 2]


def test_parts_may_lack_classes(tmp_path):
    """In training it is said, and in the others it is usual."""
    for folder in ("train/cat", "train/dog", "test/dog"):
        put(tmp_path / folder / "0.png", draw(0))
    data = image_folder(tmp_path, 8, val=0, classes=["cat", "dog"])
    assert (data.train[1].tolist(), data.test[1].tolist()) == ([0, 1], [1])
    (tmp_path / "test" / "dog" / "0.png").unlink()
    with pytest.raises(DataError, match="test: expected images of the classes cat, dog; found none"):
        image_folder(tmp_path, 8, val=0, classes=["cat", "dog"])


def test_folders_that_are_not_among_the_classes_are_named(pets):
    put(pets / "newt" / "0.png", draw(0))
    with pytest.raises(DataError, match=r"pets: expected folders of the classes dog, cow; found cat, newt$"):
        image_folder(pets, 8, classes=["dog", "cow"])
    with pytest.raises(DataError, match=r"expected folders of the classes a, b; found cat, dog, newt$"):
        image_folder(pets, 8, classes=["a", "b"])


@pytest.mark.parametrize("skip", [True, False])
def test_a_given_class_of_damaged_images_alone(pets, skip):
    for seed in (3, 4):
        (pets / "dog" / f"{seed}.png").write_bytes(b"none")
    if not skip:
        with pytest.raises(DataError, match="1 more of 5 files are damaged"):
            image_folder(pets, 8, classes=["dog", "cat"])
        return
    with pytest.warns(UserWarning, match="has no images of dog"), pytest.warns(UserWarning, match="left out 2"):
        data = image_folder(pets, 8, val=0, classes=["dog", "cat"], skip_damaged=True)
    assert data.train[1].tolist() == [1, 1, 1]


def test_given_classes_settle_what_folders_are(tmp_path):
    for name in ("train", "val"):
        for inner in ("x", "y"):
            put(tmp_path / "parts" / name / inner / "0.png", draw(0))
        put(tmp_path / "parts" / name / "1.png", draw(1))
    assert image_folder(tmp_path / "parts", 8, val=0, classes=["val", "train"]).train[1].tolist() == [0, 1]
    layout(tmp_path / "archive", "pets/cat", "pets/dog")
    assert image_folder(tmp_path / "archive", 8, val=0, classes=["dog", "cat"]).train[1].tolist() == [0, 0, 1, 1]


def test_the_names_of_a_data_set_are_classes_again(tmp_path):
    """Also those of bytes that are not UTF-8."""
    layout(tmp_path, "caf\udce9", "10", "9")
    data = image_folder(tmp_path, 8, val=0)
    again = image_folder(tmp_path, 8, val=0, classes=data.classes)
    assert again.classes == data.classes
    np.testing.assert_array_equal(again.train[1], data.train[1])


@pytest.mark.parametrize("classes", ["cat", [], ["cat", "cat"], ["cat", 3], [b"cat"]])
def test_what_are_no_classes(pets, classes):
    with pytest.raises(ValueError, match="image_folder: classes must be names of folders, each once; got"):
        image_folder(pets, 8, classes=classes)


# Errors


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "header"])
def test_damaged_images(pets, damage):
    file = pets / "cat" / "1.png"
    raw = file.read_bytes()
    file.write_bytes({"cut": raw[: len(raw) // 2], "empty": b"", "text": b"hello", "header": raw[:30]}[damage])
    with pytest.raises(DataError, match=r"1\.png: expected an image; found that it is damaged or none"):
        image_folder(pets, 8)


def test_all_damaged_images_are_named_at_once(pets):
    for name in ("cat/0.png", "cat/2.png", "dog/4.png"):
        (pets / name).write_bytes(b"none")
    with pytest.raises(
        DataError,
        match=r"cat/0\.png: .*skip_damaged=True leaves such files out; 2 more of 5 files are damaged: .*2\.png",
    ):
        image_folder(pets, 8)


def test_damaged_images_can_be_left_out(pets):
    for name in ("cat/1.png", "dog/4.png"):
        (pets / name).write_bytes(b"none")
    with pytest.warns(UserWarning, match=r"image_folder: left out 2 of 5 files, which are damaged: .*1\.png, .*4\.png"):
        data = image_folder(pets, 8, val=0, skip_damaged=True)
    np.testing.assert_array_equal(data.train[0], np.stack([draw(seed) for seed in (0, 2, 3)]))
    assert data.train[1].tolist() == [0, 0, 1]
    assert data.skipped == (str(pets / "cat" / "1.png"), str(pets / "dog" / "4.png"))


def test_many_damaged_images_are_counted(tmp_path):
    for i in range(9):
        put(tmp_path / "a" / f"{i}.png", draw(i))
        if i:
            (tmp_path / "a" / f"{i}.png").write_bytes(b"none")
    with pytest.warns(UserWarning, match=r"left out 8 of 9 files, .*1\.png, .*5\.png and 3 more$"):
        assert len(image_folder(tmp_path, 8, val=0, skip_damaged=True).skipped) == 8


def test_a_class_of_damaged_images_alone(pets):
    for seed in (3, 4):
        (pets / "dog" / f"{seed}.png").write_bytes(b"none")
    with pytest.warns(UserWarning, match="left out 2"), pytest.raises(DataError, match=r"dog: .* all are damaged"):
        image_folder(pets, 8, skip_damaged=True)


def test_what_is_good_but_refused_is_not_left_out(pets):
    put(pets / "dog" / "5.png", np.full((8, 8), 1000, np.uint16))
    with pytest.raises(DataError, match="expected an image of 8 bits"):
        image_folder(pets, 8, skip_damaged=True)


def test_images_that_break_off_can_be_read(tmp_path):
    put(tmp_path / "a" / "0.jpg", draw(0, 32, 32))
    file = tmp_path / "a" / "0.jpg"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match="truncated=True takes what can be decoded; skip_damaged=True leaves"):
        image_folder(tmp_path, 8, val=0)
    np.testing.assert_array_equal(
        image_folder(tmp_path, 8, val=0, truncated=True).train[0][0], read_image(file, 8, truncated=True)
    )


def test_an_image_of_16_bits(tmp_path):
    put(tmp_path / "a" / "0.png", np.full((8, 8), 1000, np.uint16))
    with pytest.raises(DataError, match=r"0\.png: expected an image of 8 bits per channel; found Pillow's mode I"):
        image_folder(tmp_path, 8)


def test_programs_are_no_images(tmp_path):
    """PostScript would be run by another program."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    with pytest.raises(DataError, match="damaged or none"):
        image_folder(tmp_path, 8)


def test_classes_without_images(pets):
    (pets / "fish").mkdir()
    with pytest.raises(DataError, match=r"fish: expected images \(.bmp, .gif, .*\); found none"):
        image_folder(pets, 8)


def test_no_folders(tmp_path):
    with pytest.raises(DataError, match="expected a folder for each class; found none"):
        image_folder(tmp_path, 8)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nothing"):
        image_folder(tmp_path / "nothing", 8)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"size": 0}, ValueError, "image_folder: size must be 1 or more; got 0"),
        ({"background": 300}, ValueError, "image_folder: background must be 0 to 255; got 300"),
        ({"size": 8.0}, TypeError, "image_folder: size must be an int; got 8.0"),
        ({"size": (8, 8, 3)}, ValueError, r"size must be an int or \(height, width\); got \(8, 8, 3\)"),
        ({"channels": 4}, ValueError, "channels must be 3 or 1; got 4"),
        ({"channels": True}, ValueError, "channels must be 3 or 1; got True"),
        ({"val": 5}, ValueError, "val=5 leaves none of 5 samples"),
    ],
)
def test_bad_options(pets, options, error, text):
    with pytest.raises(error, match=text):
        image_folder(pets, **({"size": 8} | options))


def test_without_pillow(pets, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r'image_folder needs Pillow: pip install "cnnlayers\[images\]"'):
        image_folder(pets, 8)
