"""A folder of images, a folder per class."""

import sys

import numpy as np
import pytest
from PIL import Image

from cnnlayers import DataError
from cnnlayers.data import folder as module
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


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "gif", "jpg", "JPEG", "webp"])
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
    put(tmp_path / "a" / "0.png", np.full((8, 8, 4), 50, np.uint8))
    Image.fromarray(np.full((8, 8, 3), 50, np.uint8)).convert("P").save(tmp_path / "a" / "1.png")
    assert image_folder(tmp_path, 8, val=0).train[0].shape == (2, 8, 8, 3)


# Errors


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "header"])
def test_damaged_images(pets, damage):
    file = pets / "cat" / "1.png"
    raw = file.read_bytes()
    file.write_bytes({"cut": raw[: len(raw) // 2], "empty": b"", "text": b"hello", "header": raw[:30]}[damage])
    with pytest.raises(DataError, match=r"1\.png: expected an image; found that it is damaged or none"):
        image_folder(pets, 8)


def test_an_image_that_is_too_large(pets, monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 63)
    with pytest.raises(DataError, match=r"0\.png: expected an image of at most 63 pixels; found 8 x 8"):
        image_folder(pets, 8)


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
