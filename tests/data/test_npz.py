"""Data sets in npz files."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import DataError
from cnnlayers.data.datasets import npz
from cnnlayers.stored import Rows


def content(n=20, prefix=("x_train", "y_train"), shape=(6, 5, 3)):
    rng = np.random.default_rng(n)
    x, y = prefix
    return {x: rng.integers(0, 256, (n, *shape), dtype=np.uint8), y: np.arange(n) % 4}


@pytest.fixture
def write(tmp_path):
    def write(how=np.savez, **arrays):
        how(tmp_path / "some.npz", **arrays)
        return tmp_path / "some.npz"

    return write


@pytest.mark.parametrize("how", [np.savez, np.savez_compressed])
def test_all_parts(write, how):
    arrays = content() | content(6, ("x_val", "y_val")) | content(7, ("x_test", "y_test"))
    data = npz(write(how, **arrays))
    for name, pair in (("train", data.train), ("val", data.val), ("test", data.test)):
        np.testing.assert_array_equal(pair[0], arrays[f"x_{name}"])
        np.testing.assert_array_equal(pair[1], arrays[f"y_{name}"])
        assert pair[0].dtype == np.uint8
        assert pair[1].dtype == np.int64
    assert data.classes == ("0", "1", "2", "3")


def test_x_and_y_alone(write):
    data = npz(write(**content(20, ("x", "y"))), val=0.25, classes="abcd")
    assert repr(data) == "Dataset(train=15, val=5 images of 6 x 5 x 3, 4 classes)"
    assert data.test is None
    assert data.classes == ("a", "b", "c", "d")


def test_as_keras_writes_them(write):
    """Gray images without a channel axis; labels in a column."""
    arrays = content(shape=(6, 5)) | content(7, ("x_test", "y_test"), (6, 5))
    arrays["y_train"] = arrays["y_train"].astype(np.uint8)[:, np.newaxis]
    data = npz(write(**arrays), val=0)
    assert data.train[0].shape == (20, 6, 5, 1)
    assert data.train[1].shape == (20,)


def test_names_of_classes_in_the_file_and_other_kinds_of_x(write):
    arrays = content() | {"classes": np.array(["a", "b", "c", "d"]), "x_train": np.zeros((20, 30, 2), np.float32)}
    data = npz(write(**arrays), val=0)
    assert data.classes == ("a", "b", "c", "d")
    assert data.train[0].dtype == np.float32
    assert repr(data) == "Dataset(train=20 signals of 30 x 2, 4 classes)"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"y_train": None}, r"expected both x_train and y_train; found \['x_train'\]"),
        (
            {"x_train": None, "y_train": None, "z": np.zeros(3)},
            r"expected arrays x_train and y_train, or x and y; found",
        ),
        ({"y_train": np.zeros(19, int)}, r"expected 20 integer labels in y_train; found int64 of shape \(19,\)"),
        ({"y_train": np.zeros(20)}, "expected 20 integer labels in y_train; found float64"),
        ({"y_train": np.arange(20) - 1}, r"labels must be in 0\.\.18; found -1 at position 0"),
        ({"x_train": np.zeros((20, 3), complex)}, r"expected samples \(N, ...\) of real numbers in x_train"),
        ({"x_train": np.zeros((0, 3)), "y_train": np.zeros(0, int)}, r"expected samples in x_train; found none$"),
        (
            content(0, ("x_val", "y_val")),
            "expected samples in x_val; found none: leave x_val and y_val out, and a part is drawn for it",
        ),
        (content(0, ("x_test", "y_test")), "expected samples in x_test; found none: leave x_test and y_test out$"),
        ({"x_train": np.array(3.0), "y_train": np.array(3)}, r"expected samples \(N, ...\) of real numbers in x_train"),
        (
            {"x_train": np.zeros((20, 0, 3))},
            r"expected samples \(N, ...\) of real numbers in x_train; found float64 of",
        ),
        ({"x_train": np.full((20, 3), np.nan)}, "expected finite numbers in x_train; found nan in sample 0$"),
        (
            {"x_train": np.r_[np.zeros((19, 3, 2), np.float16), np.full((1, 3, 2), np.inf, np.float16)]},
            "expected finite numbers in x_train; found inf in sample 19$",
        ),
        ({"x_train": np.array([["a"]] * 20, object)}, "expected numbers in x_train; found Python objects"),
        (
            content(4, ("x_test", "y_test"), (5, 5, 3)),
            r"expected samples of \(6, 5, 3\) in each part; found \(5, 5, 3\)",
        ),
    ],
)
def test_arrays_that_do_not_fit(write, change, text):
    arrays = {name: a for name, a in (content() | change).items() if a is not None}
    with pytest.raises(DataError, match=f"some.npz: {text}"):
        npz(write(**arrays))


@pytest.mark.parametrize(
    ("dtype", "shape", "signals", "gives"),
    [
        (np.uint8, (6, 5), None, (6, 5, 1)),
        (np.uint8, (6, 5), True, (6, 5)),
        (np.uint8, (6, 5), False, (6, 5, 1)),
        (np.float32, (6, 5), None, (6, 5)),
        (np.float32, (6, 5), False, (6, 5, 1)),
        (np.float32, (28, 28), False, (28, 28, 1)),
        (np.float64, (28, 28), True, (28, 28)),
        (np.int16, (4, 4), None, (4, 4)),
        (np.float32, (6, 5, 1), True, (6, 5, 1)),
        (np.float32, (7,), False, (7,)),
    ],
)
def test_arrays_of_three_axes_are_signals_or_gray_images(write, dtype, shape, signals, gives):
    x = np.random.default_rng(0).integers(0, 99, (20, *shape)).astype(dtype)
    path = write(x=x, y=np.arange(20) % 4, x_test=x[:7], y_test=np.arange(7) % 4)
    data = npz(path, val=0, signals=signals)
    assert data.train[0].shape == (20, *gives)
    assert data.test[0].shape == (7, *gives)
    np.testing.assert_array_equal(data.train[0].reshape(x.shape), x)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, bool])
def test_squares_are_taken_for_images_with_a_warning(write, dtype):
    arrays = {"x": np.zeros((20, 5, 5), dtype), "y": np.arange(20) % 4}
    path = write(**arrays)
    words = rf"some\.npz: x, {np.dtype(dtype)} of shape \(20, 5, 5\), is taken for gray images \(N, H, W\); "
    with pytest.warns(
        UserWarning, match=words + r"signals=False says so, signals=True takes it for signals \(N, L, C\)"
    ):
        data = npz(path, val=0)
    assert data.train[0].shape == (20, 5, 5, 1)
    with pytest.warns(UserWarning, match="gray images"):
        assert npz(write(**arrays, x_test=arrays["x"], y_test=arrays["y"]), val=0).test[0].shape == (20, 5, 5, 1)


def test_signals_must_be_a_flag(write):
    with pytest.raises(TypeError, match="npz: signals must be True, False or None; got 'yes'"):
        npz(write(**content()), signals="yes")


def test_a_folder(tmp_path):
    with pytest.raises(DataError, match=rf"^{tmp_path}: expected an npz file; found a folder"):
        npz(tmp_path)


def test_labels_beyond_the_classes(write):
    with pytest.raises(DataError, match=r"labels must be in 0\.\.1; found 2 at position 2"):
        npz(write(**content()), classes="ab")


def member(a, shape=None, rest=b""):
    """The bytes of an npy file, whose header may name another shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": a.dtype.str, "fortran_order": False, "shape": shape or a.shape}
    )
    return stream.getvalue() + a.tobytes() + rest


@pytest.mark.parametrize("pack", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (member(np.zeros(10, "u1"), (10**15, 5)), r"expected 5,000,000,000,000,128 bytes for x_train, uint8 of shape"),
        (member(np.zeros(10, "u1"), (11,)), r"expected 139 bytes for x_train, uint8 of shape \(11,\); found 138"),
        (member(np.zeros(10, "u1"), rest=b"more"), "expected 138 bytes for x_train"),
        (b"no array at all", "expected an array in x_train; found another thing"),
        (b"", "expected an array in x_train"),
        (member(np.zeros(10, "u1")).replace(b"(10,)", b"(10,("), "expected an (npz file|array in x_train); found"),
        (member(np.zeros(10, "u1")).replace(b"|u1'", b",u1'"), "expected an (npz file|array in x_train); found"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(1 << 15), "expected an array in x_train; .* EOF"),
    ],
)
def test_members_that_lie(tmp_path, pack, raw, text):
    path = tmp_path / "some.npz"
    with zipfile.ZipFile(path, "w", pack) as file:
        file.writestr("x_train.npy", raw)
        file.writestr("y_train.npy", member(np.zeros(10, int)))
    with pytest.raises(DataError, match=f"some.npz: {text}"):
        npz(path)


def test_a_header_that_claims_to_be_long_takes_no_memory(tmp_path):
    """Zeros take a thousandth of their place in a compressed file."""
    path = tmp_path / "some.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x_train.npy", b"\x93NUMPY\x02\x00\x00\x00\x00\x04" + bytes(1 << 26))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="expected an array in x_train"):
            npz(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()


def test_bz2_that_is_damaged(tmp_path):
    path = tmp_path / "some.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("x_train.npy", member(np.zeros(10, "u1")))
    path.write_bytes(path.read_bytes().replace(b"BZh9", b"BZh0"))
    with pytest.raises(DataError, match=r"some.npz: expected an npz file; found that it is damaged"):
        npz(path)


def test_names_that_are_no_text(write):
    names = np.array([0x110000, 65], "<u4").view("<U1")
    with pytest.raises(DataError, match=r"some.npz: expected names in classes; found characters that there are none"):
        npz(write(**content(), classes=names))


def test_names_of_members_that_are_no_text(write):
    path = write(**content())
    raw = bytearray(path.read_bytes().replace(b"x_train.npy", b"x_tr\xffin.npy"))
    for at in range(len(raw)):
        if raw[at : at + 4] == b"PK\x01\x02":  # of the directory
            raw[at + 9] |= 8  # names are UTF-8
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"some.npz: expected an npz file; found that it is damaged: 'utf-8' codec"):
        npz(path)


@pytest.mark.parametrize("how", [np.savez, np.savez_compressed])
def test_any_damage_is_an_error_or_harmless(write, how):
    path = write(how, **content())
    good = path.read_bytes()
    expected = npz(path, val=0)
    rng = np.random.default_rng(0)
    for _ in range(300):
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= rng.integers(1, 256)
        path.write_bytes(bad)
        try:
            fine = np.array_equal(npz(path, val=0).train[0], expected.train[0])
        except DataError as error:
            fine = "some.npz" in str(error)
        assert fine
    for length in (0, 10, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:length])
        with pytest.raises(DataError, match=r"some\.npz"):
            npz(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz"):
        npz(tmp_path / "nothing.npz")


@pytest.mark.parametrize("label", [10**9, np.uint64(2**63)])
def test_a_label_out_of_all_range(label, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((3, 4, 4, 1), np.uint8), y=np.array([0, 1, label], np.uint64))
    with pytest.raises(DataError, match=r"a\.npz: expected labels below 1,000,000"):
        npz(path)


# Samples that stay in the file


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, ">f8", np.int16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_samples_that_are_not_compressed_stay_in_the_file(write, dtype, order):
    x = {
        name: np.asarray(content(n)["x_train"].astype(dtype), order=order)
        for name, n in (("x_train", 20), ("x_val", 9))
    }
    path = write(**x, y_train=np.arange(20) % 4, y_val=np.arange(9) % 4)
    data = npz(path)
    for part, array in ((data.train[0], x["x_train"]), (data.val[0], x["x_val"])):
        assert isinstance(part, np.memmap)
        assert not part.flags.writeable
        assert (part.dtype, part.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(part, array)


def test_gray_images_that_stay_in_the_file_have_their_channel(write):
    path = write(x=content(shape=(6, 5))["x_train"], y=np.arange(20) % 4)
    assert isinstance(npz(path, val=0).train[0], np.memmap)
    assert npz(path, val=0).train[0].shape == (20, 6, 5, 1)


def test_parts_that_are_drawn(write, monkeypatch):
    """Of a small file they are copied, of a large one read where they are."""
    path = write(**content())
    small = npz(path, val=5)
    assert type(small.train[0]) is type(small.val[0]) is np.ndarray
    monkeypatch.setattr("cnnlayers.data.parts.SMALL", 0)
    large = npz(path, val=5)
    assert type(large.train[0]) is type(large.val[0]) is Rows
    for one, other in zip(small.train + small.val, large.train + large.val, strict=True):
        np.testing.assert_array_equal(np.asarray(one), other)


def test_compressed_samples_are_read(write):
    assert type(npz(write(np.savez_compressed, **content()), val=0).train[0]) is np.ndarray


def test_a_flipped_bit_of_samples_that_stay_in_the_file(write):
    path = write(**content())
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 1  # among the samples
    path.write_bytes(raw)
    with pytest.raises(DataError, match="damaged: Bad CRC-32"):
        npz(path)


def test_a_header_of_another_member(write):
    """The directory at the end of the file says where a member is; what is there must say the same."""
    path = write(**content())
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"x_train.npy", b"y_train.npy", 1))
    with pytest.raises(DataError, match=r"damaged: File name in directory|expected a header"):
        npz(path)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_training_on_samples_that_stay_in_the_file(write, dtype, order, monkeypatch):
    """Whatever their place in the file, their byte order and the order of their axes: the bits are those of arrays."""
    monkeypatch.setattr("cnnlayers.data.parts.SMALL", 0)
    x, y = np.asarray(content()["x_train"] / 255, dtype, order=order), np.arange(20) % 4
    mapped = npz(write(x=x, y=y), val=5)
    outcomes = []
    for data in (mapped, cl.datasets.arrays((np.ascontiguousarray(x), y), val=5)):
        net = cl.Sequential([cl.Conv(3, 3), cl.ReLU(), cl.Flatten(), cl.Affine(4)], x.shape[1:], rng=0)
        options = {"loss": cl.SoftmaxLoss(), "optimizer": cl.SGD(lr=0.1), "epochs": 2, "batch_size": 4}
        solver = cl.Solver(net, data.train, data.val, progress=False, **options)
        solver.train()
        outcomes.append((net.flat_params.tobytes(), solver.evaluate(*data.val), net.predict(data.val[0]).tobytes()))
    assert outcomes[0] == outcomes[1]
