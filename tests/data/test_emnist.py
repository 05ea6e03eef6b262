"""EMNIST's files in a folder."""

import gzip
import string

import numpy as np
import pytest

from cnnlayers import DataError
from cnnlayers.data.datasets import emnist
from cnnlayers.data.emnist import CLASSES
from tests.data.test_idx import encode


def make(root, split, classes, first=0, packed=True, mapping=None):
    """Write a split of n images of each class; give the arrays, as they are stored."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(split))
    parts = {}
    for part, n in (("train", 3), ("test", 1)):
        y = np.arange(n * classes, dtype=np.uint8) % classes + first
        x = rng.integers(0, 256, (len(y), 6, 6), dtype=np.uint8)
        parts[part] = x, y.astype(np.int64)
        for kind, a in (("images-idx3", x), ("labels-idx1", y.astype(np.uint8))):
            name = f"emnist-{split}-{part}-{kind}-ubyte"
            content = encode(a)
            (root / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    if mapping is not None:
        (root / f"emnist-{split}-mapping.txt").write_text(mapping)
    return parts


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("folder", ["", "gzip"])
@pytest.mark.parametrize("split", CLASSES)
def test_every_split(tmp_path, split, folder, packed):
    n = {"balanced": 47, "byclass": 62, "bymerge": 47, "digits": 10, "letters": 26, "mnist": 10}[split]
    first = 1 if split == "letters" else 0
    parts = make(tmp_path / folder, split, n, first, packed)
    data = emnist(tmp_path, val=0)
    assert repr(data) == f"Dataset(train={3 * n}, test={n} images of 6 x 6 x 1, {n} classes)"
    for (x, y), (stored, labels) in zip((data.train, data.test), parts.values(), strict=True):
        np.testing.assert_array_equal(x[..., 0], stored.transpose(0, 2, 1))
        np.testing.assert_array_equal(y, labels - first)
        assert x.flags.c_contiguous
    assert data.classes == tuple(CLASSES[split])


def test_names_of_the_classes(tmp_path):
    make(tmp_path, "letters", 26, 1)
    assert emnist(tmp_path).classes == tuple(string.ascii_uppercase)
    lines = "".join(f"{label} {64 + label} {96 + label}\n" for label in range(1, 27))
    (tmp_path / "emnist-letters-mapping.txt").write_text(lines)
    assert emnist(tmp_path).classes == tuple(string.ascii_uppercase)
    (tmp_path / "emnist-letters-mapping.txt").write_text(lines.replace("2 66", "2 233"))
    assert emnist(tmp_path).classes[:3] == ("A", "é", "C")
    for text, match in (("a b", "expected lines of a label and the code"), ("1 65", "expected 26 labels of letters")):
        (tmp_path / "emnist-letters-mapping.txt").write_text(text)
        with pytest.raises(DataError, match=rf"emnist-letters-mapping\.txt: {match}"):
            emnist(tmp_path)


def test_letters_that_someone_has_counted_from_0(tmp_path):
    parts = make(tmp_path, "letters", 26)
    np.testing.assert_array_equal(emnist(tmp_path).test[1], parts["test"][1])


def test_the_labels_of_other_splits_stay(tmp_path):
    make(tmp_path, "digits", 9, 1)
    assert emnist(tmp_path).test[1].tolist() == list(range(1, 10))


def test_several_splits(tmp_path):
    make(tmp_path, "digits", 10)
    make(tmp_path, "balanced", 47)
    with pytest.raises(DataError, match="expected one split of EMNIST, or split=NAME; found balanced, digits"):
        emnist(tmp_path)
    assert len(emnist(tmp_path, split="digits").classes) == 10
    with pytest.raises(FileNotFoundError, match=r"no emnist-mnist-train-.*; splits that are there: balanced, digits"):
        emnist(tmp_path, split="mnist")
    with pytest.raises(ValueError, match=r"split must be one of balanced, byclass, .*; got 'byname'"):
        emnist(tmp_path, split="byname")


def test_labels_out_of_range(tmp_path):
    make(tmp_path, "letters", 27, 1)
    with pytest.raises(DataError, match=r"labels must be in 0\.\.25; found 26 at position 26"):
        emnist(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no emnist-SPLIT-train-images-idx3-ubyte in"):
        emnist(tmp_path)
