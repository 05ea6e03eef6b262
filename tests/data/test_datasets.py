import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from cnnlayers.data import datasets


@pytest.fixture(scope="module")
def data():
    return datasets.digits()


def in_file_order(data, part):
    """Put the three parts together again as they lie in the file: positions 0, 5, 10, ... are the test part."""
    arrays = {name: getattr(data, name)[part] for name in ("train", "val", "test")}
    whole = np.empty((1797, *arrays["train"].shape[1:]), arrays["train"].dtype)
    whole[0::5], whole[1::5] = arrays["test"], arrays["val"]
    for offset in (2, 3, 4):  # training images come in threes
        whole[offset::5] = arrays["train"][offset - 2 :: 3]
    return whole


def test_sizes_and_types(data):
    for part, n in (("train", 1077), ("val", 360), ("test", 360)):
        x, y = getattr(data, part)
        assert x.shape == (n, 8, 8, 1)
        assert x.dtype == np.uint8
        assert y.shape == (n,)
        assert y.dtype == np.int64
        assert x.flags.c_contiguous
    assert data.classes == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def test_the_images_are_those_of_the_source(data):
    """By digests taken from scikit-learn's load_digits when the file was made."""
    x, y = in_file_order(data, 0), in_file_order(data, 1)
    assert hashlib.sha256(x.tobytes()).hexdigest() == "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
    digest = hashlib.sha256(y.astype(np.uint8).tobytes()).hexdigest()
    assert digest == "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0"


def test_the_first_image_by_hand(data):
    """Image 0 of the source is a nought, and as 0 % 5 == 0 it is the first of the test part."""
    x, y = data.test
    assert y[0] == 0
    assert x[0, :, :, 0].tolist() == [
        [0, 0, 5, 13, 9, 1, 0, 0],
        [0, 0, 13, 15, 10, 15, 5, 0],
        [0, 3, 15, 2, 0, 11, 8, 0],
        [0, 4, 12, 0, 0, 8, 8, 0],
        [0, 5, 8, 0, 0, 9, 8, 0],
        [0, 4, 11, 0, 1, 12, 7, 0],
        [0, 2, 14, 5, 10, 12, 0, 0],
        [0, 0, 6, 13, 10, 0, 0, 0],
    ]


def test_values_and_classes_are_as_the_source_counts_them(data):
    x, y = in_file_order(data, 0), in_file_order(data, 1)
    assert (x.min(), x.max()) == (0, 16)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    for part in (data.train, data.val, data.test):
        assert set(part[1]) == set(range(10))


def test_each_call_gives_arrays_of_its_own(data):
    mine = datasets.digits()
    mine.train[0][:] = 99
    mine.test[1][:] = -1
    again = datasets.digits()
    assert again.train[0].max() == 16
    assert again.test[1].min() == 0
    assert not np.shares_memory(again.train[0], again.val[0])


def test_repr_tells_sizes(data):
    assert repr(data) == "Dataset(train=1077, val=360, test=360 images of 8 x 8 x 1, 10 classes)"


def test_a_dataset_is_frozen(data):
    with pytest.raises(dataclasses.FrozenInstanceError, match="train"):
        data.train = None


def test_the_file_is_small_and_holds_no_pickle():
    path = Path(datasets.__file__).with_name("digits.npz")
    assert path.stat().st_size < 100_000
    with np.load(path, allow_pickle=False) as file:
        assert sorted(file.files) == ["x", "y"]
        assert {file[name].dtype for name in file.files} == {np.dtype(np.uint8)}


def test_the_source_and_its_licence_travel_with_the_file():
    text = Path(datasets.__file__).with_name("README.md").read_text()
    for fact in ("Alpaydin", "Kaynak", "CC BY 4.0", "10.24432/C50P49"):
        assert fact in text
