"""Arrays that are not in memory: what is read of them, and that nothing else is different."""

import importlib.util

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import stored
from cnnlayers.stored import Stored, is_stored, release


class Rows:
    """An array that can only be sliced; it counts what is read, and the most at once."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.read, self.most = 0, 0

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        given = self.array[rows]
        self.read += len(given)
        self.most = max(self.most, len(given))
        return given.copy()


RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (50, 8, 8, 1), dtype=np.uint8)
Y = np.arange(50) % 10


def make_net(dtype="float32"):
    layers = [cl.Normalize(128, 64), cl.Conv(4, 3), cl.ReLU(), cl.Flatten(), cl.Affine(10)]
    return cl.Sequential(layers, input_shape=(8, 8, 1), rng=0, dtype=dtype)


def make_solver(train, val=None, **options):
    options = {"batch_size": 16, "epochs": 2, "rng": 3, "progress": False} | options
    return cl.Solver(make_net(), train, val, loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.1), **options)


# Rows


@pytest.mark.parametrize("indices", [[0], [49], [3, 4, 5], [5, 3, 4], [9, 0, 49, 1], [2, 2, 1, 2], range(50), []])
def test_rows_come_in_the_order_that_is_asked_for(indices):
    source = Rows(X)
    indices = np.array(indices, int)
    np.testing.assert_array_equal(Stored(source)[indices], X[indices])
    assert source.read == len(set(indices.tolist()))


@pytest.mark.parametrize("rows", [slice(None), slice(3, 9), slice(40, 99), slice(5, 5), slice(9, 3)])
def test_slices(rows):
    np.testing.assert_array_equal(Stored(Rows(X))[rows], X[rows])


def test_what_is_in_memory_is_not_stored():
    assert is_stored(Rows(X))
    listed = Rows(X)
    listed.shape = list(X.shape)
    assert is_stored(listed)
    np.testing.assert_array_equal(Stored(listed)[np.array([3, 1])], X[[3, 1]])
    for x in (X, X.tolist(), np.float32(1), np.ma.masked_array(X), 3, "a", None, np.ndarray, memoryview(X)):
        assert not is_stored(x)


def test_a_data_set_keeps_what_is_not_in_memory():
    rows, labels = Rows(X), Rows(Y)
    data = cl.datasets.arrays((rows, labels), val=(X, Y))
    assert repr(data) == "Dataset(train=50, val=50 images of 8 x 8 x 1, 10 classes)"
    assert data.train[0] is rows
    assert rows.read == 0
    parts, in_memory = (cl.datasets.arrays((x, Y), val=0.2) for x in (rows, X))
    for one, other in zip(parts.train + parts.val, in_memory.train + in_memory.val, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"got shapes \(50, 8, 8, 1\) and \(49,\)"):
        cl.datasets.arrays((rows, Y[1:]))


def test_a_source_that_gives_something_else():
    class Liar(Rows):
        def __getitem__(self, rows):
            return self.array[:1]

    with pytest.raises(
        ValueError, match=r"Liar of shape \(50, 8, 8, 1\): \[2:5\] must give shape \(3, 8, 8, 1\); it gave"
    ):
        Stored(Liar(X))[2:5]


# Rows of a memory map


@pytest.fixture
def mapped(tmp_path):
    """X in a file, 40 times, larger than a page."""
    np.save(tmp_path / "x.npy", np.tile(X, (40, 1, 1, 1)))
    return np.load(tmp_path / "x.npy", mmap_mode="r")


CHOSEN = np.array([3, 4, 9, 1999, 7])


@pytest.mark.parametrize(
    "key",
    [
        *(
            0,
            -1,
            np.int64(2),
            slice(None),
            slice(1, 4),
            slice(None, None, -2),
            slice(9, 9),
            [3, 1],
            CHOSEN[:0].astype(int),
        ),
        *(np.array([True, False, True, False, True]), (1, 2), (slice(1, 3), 2, slice(0, 5)), ([0, 2], slice(None), 3)),
        *(
            Ellipsis,
            (Ellipsis, 0),
            None,
            (slice(None), None),
            (),
            ([0, 2], [1, 5]),
            (0, [1, 5]),
            np.array([[0, 1], [2, 3]]),
        ),
        *((np.array([[0, 1], [2, 3]]), slice(2, 4), 1), (slice(0, 2), X[0, ..., 0] > 100)),
    ],
    ids=repr,
)
def test_rows_of_a_map_are_indexed_as_an_array(mapped, key):
    rows, array = stored.Rows(mapped, CHOSEN), np.array(mapped[CHOSEN])
    given = rows[key]
    assert type(given) in (np.ndarray, np.uint8)
    np.testing.assert_array_equal(given, array[key])


def test_rows_of_a_map_are_like_an_array(mapped):
    rows, array = stored.Rows(mapped, CHOSEN), np.array(mapped[CHOSEN])
    for name in ("shape", "dtype", "ndim", "size", "nbytes"):
        assert getattr(rows, name) == getattr(array, name)
    assert len(rows) == 5
    assert rows.mean() == array.mean() == np.mean(rows)
    for one, other in ((rows / 255, array / 255), (1 - rows, 1 - array), (rows == 7, array == 7), (-rows, -array)):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(list(rows), list(array))
    assert np.asarray(rows, np.float32).dtype == np.float32
    assert repr(rows) == "Rows(uint8 of shape (5, 8, 8, 1), 5 of 2,000 in a file)"
    for index in (5, -6):
        with pytest.raises(IndexError):
            rows[index]
    with pytest.raises(AttributeError, match="no attribute 'iloc'"):
        _ = rows.iloc
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(rows, copy=False)
    with pytest.raises(TypeError):
        np.add(array, 1, out=rows)
    assert is_stored(rows)


def resident(path):
    """How many kilobytes of a mapped file count as this process's memory."""
    with open("/proc/self/smaps", encoding="utf-8") as file:
        lines = file.read().splitlines()
    found = [i for i, line in enumerate(lines) if line.endswith(str(path))]
    return sum(int(line.split()[1]) for i in found for line in lines[i : i + 5] if line.startswith("Rss:"))


def test_pages_that_have_been_read_are_given_back(mapped, tmp_path):
    path, array = tmp_path / "x.npy", np.array(mapped)
    for view in (mapped, mapped[7:], np.asarray(mapped)[..., np.newaxis], stored.Rows(mapped, CHOSEN), Stored(mapped)):
        assert int(mapped[:].max()) == array.max()
        assert resident(path) > 100
        release(view)
        assert resident(path) == 0
    np.testing.assert_array_equal(mapped, array)


def test_what_has_been_written_stays(tmp_path):
    np.save(tmp_path / "x.npy", X)
    private = np.load(tmp_path / "x.npy", mmap_mode="c")
    private[...] = 7
    release(private)
    assert private.min() == 7
    for other in (X, X.tolist(), None):
        release(other)


def test_training_and_prediction_give_pages_back(mapped, tmp_path):
    y = np.arange(len(mapped)) % 10
    rows = stored.Rows(mapped, np.arange(1000))
    for x, val in ((mapped, mapped[:200]), (rows, stored.Rows(mapped, np.arange(200)))):
        solver = make_solver((x, y[: len(x)]), (val, y[:200]))
        solver.train()
        assert resident(tmp_path / "x.npy") == 0
        solver.evaluate(x, y[: len(x)])
        assert resident(tmp_path / "x.npy") == 0
        for use in (solver.model.predict, solver.model.for_inference().predict, cl.datasets.channel_stats):
            use(x)
            assert resident(tmp_path / "x.npy") == 0


# Training, evaluation, prediction


@pytest.mark.parametrize("stored", [np.uint8, np.float32, np.float64, ">f4", np.int16, np.float16])
@pytest.mark.parametrize("augment", [None, cl.augment.RandomCrop(1)], ids=["", "augmented"])
def test_training_has_the_same_bits(stored, augment):
    x = (X / 3).astype(stored)
    in_memory = make_solver((x, Y), (x[:20], Y[:20]), augment=augment)
    source, labels, val = Rows(x), Rows(Y), Rows(x[:20])
    from_file = make_solver((source, labels), (val, Y[:20]), augment=augment)
    assert (source.read, val.read, labels.read) == (0, 0, 50)  # labels are few bytes
    assert in_memory.train()["train_loss"] == from_file.train()["train_loss"]
    assert in_memory.history["val_loss"] == from_file.history["val_loss"]
    np.testing.assert_array_equal(in_memory.model.flat_params, from_file.model.flat_params)
    assert (source.read, labels.read) == (100, 50)  # two epochs, each row once
    assert source.most <= 16
    assert val.most <= 20


def test_evaluation_reads_by_batches():
    source = Rows(X)
    solver = make_solver((X, Y))
    assert solver.evaluate(source, Rows(Y)) == solver.evaluate(X, Y)
    assert (source.read, source.most) == (50, 16)


@pytest.mark.parametrize("inference", [False, True])
def test_prediction_reads_by_batches(inference):
    net = make_net().for_inference() if inference else make_net()
    source = Rows(X)
    np.testing.assert_array_equal(net.predict(source, batch_size=20), net.predict(X, batch_size=20))
    assert (source.read, source.most) == (50, 20)
    np.testing.assert_array_equal(net.predict_proba(source, batch_size=20), net.predict_proba(X, batch_size=20))
    with pytest.raises(TypeError, match="needs real numbers"):
        net.predict(Rows(X.astype(str)))
    with pytest.raises(ValueError, match=r"was built for \(N, 6, 6, 4\); got shape \(N, 2, 6, 4\)"):
        net.predict(Rows(X[:, :4]))
    assert net.predict(Rows(X[:0])).shape == (0, 10)


def test_prediction_of_a_net_that_is_not_built():
    np.testing.assert_array_equal(
        cl.Sequential([cl.MaxPool(2)]).predict(Rows(X)), cl.Sequential([cl.MaxPool(2)]).predict(X)
    )


def test_statistics_read_by_blocks(monkeypatch):
    monkeypatch.setattr("cnnlayers.data.parts.BLOCK", 64 * 7)
    source = Rows(X)
    assert cl.datasets.channel_stats(source) == cl.datasets.channel_stats(X)
    assert source.most == 7


def test_a_run_goes_on_with_a_sample_of_the_rows_compared(tmp_path):
    """Stored and in memory it is the same data."""
    x = np.repeat(X, 20, axis=0)
    y = np.repeat(Y, 20)
    whole = make_solver((x, y), epochs=3)
    whole.train()
    solver = make_solver((Rows(x), y), checkpoint=tmp_path, epochs=3, callbacks=[cl.Checkpoint(every=1)])
    source = solver.train_data.x.source
    solver.save(tmp_path / "first.safetensors")
    assert source.read <= 64
    again = Rows(x)
    resumed = cl.Solver.resume(tmp_path / "first.safetensors", (again, y), progress=False)
    assert again.read <= 64
    resumed.train()
    np.testing.assert_array_equal(resumed.model.flat_params, whole.model.flat_params)
    cl.Solver.resume(tmp_path / "first.safetensors", (x, y), progress=False)
    with pytest.raises(ValueError, match="the run had other train data of this shape"):
        cl.Solver.resume(tmp_path / "first.safetensors", (Rows(255 - x), y), progress=False)


def test_errors_of_data_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"train needs as many targets as samples; got shapes \(50, 8, 8, 1\) and \(49,\)"
    ):
        make_solver((Rows(X), Y[:49]))
    with pytest.raises(ValueError, match="train has no samples"):
        make_solver((Rows(X[:0]), Y[:0]))


def open_hdf5(path):
    import h5py

    with h5py.File(path / "a.h5", "w") as file:
        file.create_dataset("x", data=X, chunks=(7, 8, 8, 1), compression="gzip")
        file["y"] = Y
    file = h5py.File(path / "a.h5")
    return file["x"], file["y"], file.close


def open_zarr(path):
    import zarr

    x = zarr.create_array(str(path / "x.zarr"), shape=X.shape, dtype=X.dtype, chunks=(7, 8, 8, 1))
    y = zarr.create_array(str(path / "y.zarr"), shape=Y.shape, dtype=Y.dtype, chunks=(50,))
    x[:], y[:] = X, Y
    return x, y, lambda: None


LIBRARIES = [open for name, open in (("h5py", open_hdf5), ("zarr", open_zarr)) if importlib.util.find_spec(name)]


@pytest.mark.parametrize("library", LIBRARIES or [lambda path: (Rows(X), Rows(Y), lambda: None)])
def test_files_of_libraries(tmp_path, library):
    """Of those that are installed; else of the class above."""
    x, y, close = library(tmp_path)
    in_memory, from_file = make_solver((X, Y), (X, Y)), make_solver((x, y), (x, y))
    assert in_memory.train()["val_loss"] == from_file.train()["val_loss"]
    np.testing.assert_array_equal(in_memory.model.flat_params, from_file.model.flat_params)
    assert from_file.evaluate(x, y) == in_memory.evaluate(X, Y)
    np.testing.assert_array_equal(make_net().predict(x), make_net().predict(X))
    close()
