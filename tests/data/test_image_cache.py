"""Decoded images kept in a file: decoded once, read in place, and never taken for those of another folder."""

import errno
import gc
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnlayers as cl
from cnnlayers import DataError
from cnnlayers.data import folder as folder_module
from cnnlayers.data import parts
from cnnlayers.data.datasets import image_folder
from cnnlayers.stored import Rows
from tests.windows import files_as_on_windows


def draw(seed):
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def put(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(seed)).save(path)


@pytest.fixture
def pets(tmp_path):
    """Nine cats and three dogs."""
    for seed in range(12):
        put(tmp_path / "pets" / ("dog" if seed % 4 == 0 else "cat") / f"{seed:02}.png", seed)
    return tmp_path / "pets"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "kept" / "here"


@pytest.fixture
def reads(monkeypatch):
    """Which files have been decoded."""
    names = []

    def counting(path, **options):
        names.append(path.name)
        return cl.datasets.read_image(path, **options)

    monkeypatch.setattr(folder_module, "read_image", counting)
    return names


def assert_same(one, other):
    assert (one.classes, one.skipped) == (other.classes, other.skipped)
    for name in ("train", "val", "test"):
        first, second = getattr(one, name), getattr(other, name)
        assert (first is None) == (second is None)
        if first is not None:
            np.testing.assert_array_equal(np.asarray(first[0]), np.asarray(second[0]))
            np.testing.assert_array_equal(first[1], second[1])


def names_in(cache):
    return sorted(path.name for path in cache.iterdir())


# What is read


@pytest.mark.parametrize(
    "options", [{}, {"val": 0}, {"val": 3, "test": 2, "rng": 5}, {"channels": 1}, {"size": (5, 9)}]
)
def test_the_data_are_those_without_a_cache(pets, cache, reads, options):
    options = {"size": 8} | options
    plain = image_folder(pets, **options)
    del reads[:]
    for decoded in (12, 0):
        assert_same(image_folder(pets, **options, cache=cache), plain)
        assert len(reads) == decoded
        del reads[:]


def test_images_stay_in_one_file(pets, cache):
    data = image_folder(pets, 8, val=0, cache=str(cache))
    (file,) = cache.glob("*.npy")
    assert names_in(cache) == [file.with_suffix(".json").name, file.name]
    assert isinstance(data.train[0], np.memmap)
    assert not data.train[0].flags.writeable
    np.testing.assert_array_equal(np.load(file), data.train[0])
    note = json.loads(file.with_suffix(".json").read_text())["source"]
    assert (note["root"], note["shape"], note["background"]) == (str(pets), [8, 8, 3], [255] * 3)
    about = (pets / "cat" / "01.png").stat()
    assert note["files"][0] == ["cat/01.png", about.st_size, about.st_mtime_ns]


def test_parts_that_are_folders_follow_each_other(tmp_path, cache):
    for seed, part in enumerate(("train", "train", "val", "test", "test", "test")):
        put(tmp_path / "pets" / part / "cat" / f"{seed}.png", seed)
    for _ in range(2):
        data = image_folder(tmp_path / "pets", 8, cache=cache)
        sizes = [len(part[1]) for part in (data.train, data.val, data.test)]
        assert sizes == [2, 1, 3]
        images = np.concatenate([part[0] for part in (data.train, data.val, data.test)])
        np.testing.assert_array_equal(images, [draw(seed) for seed in range(6)])


def test_parts_of_a_large_file_are_read_where_they_are(pets, cache, monkeypatch):
    plain = image_folder(pets, 8, val=3, test=2)
    monkeypatch.setattr(parts, "SMALL", 0)
    data = image_folder(pets, 8, val=3, test=2, cache=cache)
    for part in (data.train, data.val, data.test):
        assert isinstance(part[0], Rows)
        assert isinstance(part[0].source, np.memmap)
    assert repr(data) == repr(plain) == "Dataset(train=7, val=3, test=2 images of 8 x 8 x 3, 2 classes)"
    assert_same(data, plain)
    assert cl.datasets.channel_stats(data.train[0]) == cl.datasets.channel_stats(plain.train[0])


@pytest.mark.parametrize("augment", [None, "standard"])
def test_training_has_the_same_bits(pets, cache, monkeypatch, augment):
    monkeypatch.setattr(parts, "SMALL", 0)
    outcomes = []
    for options in ({}, {"cache": cache}):
        data = image_folder(pets, 8, val=3, test=2, **options)
        net = cl.Sequential([cl.Normalize(128, 64), cl.Conv(4, 3), cl.Flatten(), cl.Affine(2)], (8, 8, 3), rng=0)
        changed = None if augment is None else cl.augment.standard((8, 8, 3))
        solver = cl.Solver(
            *(net, data.train, data.val), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.01), epochs=2, batch_size=3,
            augment=changed, progress=False,
        )  # fmt: skip
        history = solver.train()
        found = solver.evaluate(*data.test)
        outcomes.append((net.flat_params.tobytes(), history["val_loss"], found, net.predict(data.test[0]).tobytes()))
    assert outcomes[0] == outcomes[1]


def test_a_run_goes_on_with_a_cache(pets, cache, tmp_path, monkeypatch):
    """The data are known again, in memory or not."""
    monkeypatch.setattr(parts, "SMALL", 0)
    plain, kept = image_folder(pets, 8, val=3), image_folder(pets, 8, val=3, cache=cache)
    net = cl.Sequential([cl.Flatten(), cl.Affine(2)], (8, 8, 3), rng=0)
    options = {"loss": cl.SoftmaxLoss(), "optimizer": cl.SGD(lr=1e-4), "progress": False, "epochs": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cl.Solver(net, plain.train, plain.val, checkpoint=tmp_path / "run", **options).train()
        cl.Solver.resume(tmp_path / "run" / "last.safetensors", kept.train, kept.val).train(1)


# What is decoded anew


def replaced(pets):
    put(pets / "cat" / "01.png", 77)


def touched(pets):
    os.utime(pets / "cat" / "01.png", (0, 0))


def added(pets):
    put(pets / "cat" / "99.png", 99)


def removed(pets):
    (pets / "cat" / "01.png").unlink()


def renamed(pets):
    (pets / "cat" / "01.png").rename(pets / "cat" / "98.png")


def moved(pets):
    (pets / "cat" / "01.png").rename(pets / "dog" / "01.png")


@pytest.mark.parametrize("change", [replaced, touched, added, removed, renamed, moved], ids=lambda f: f.__name__)
def test_a_folder_that_has_changed_is_decoded_anew(pets, cache, reads, change):
    before = image_folder(pets, 8, val=0, cache=cache)
    images = np.array(before.train[0])
    first = names_in(cache)
    change(pets)
    del reads[:]
    data = image_folder(pets, 8, val=0, cache=cache)
    assert len(reads) == len(data.train[1])
    assert_same(data, image_folder(pets, 8, val=0))
    assert len(names_in(cache)) == 2  # of the folder as it was, nothing is left
    assert not set(names_in(cache)) & set(first)
    np.testing.assert_array_equal(before.train[0], images)  # and who had it open has it still


def test_each_set_of_options_has_its_file(pets, cache, reads):
    options = [{}, {"size": 9}, {"channels": 1}, {"background": 0}, {"truncated": True}]
    for _ in range(2):
        for some in options:
            assert_same(
                image_folder(pets, **({"size": 8} | some), cache=cache), image_folder(pets, **{"size": 8} | some)
            )
    assert len(reads) == 12 * len(options) * 3
    assert len(names_in(cache)) == 2 * len(options)


def test_the_split_is_no_option(pets, cache, reads):
    for options in ({"val": 0}, {"val": 3, "rng": 1}, {"val": 2, "test": 2, "rng": 2}, {"skip_damaged": True}):
        image_folder(pets, 8, cache=cache, **options)
    assert len(reads) == 12


def test_another_pillow_may_give_other_pixels(pets, cache, reads, monkeypatch):
    image_folder(pets, 8, cache=cache)
    monkeypatch.setattr("PIL.__version__", "1.0")
    image_folder(pets, 8, cache=cache)
    assert len(reads) == 24
    assert len(names_in(cache)) == 2


def cut(file):
    os.truncate(file, file.stat().st_size - 1)


def lengthened(file):
    file.write_bytes(file.read_bytes() + b"0")


def emptied(file):
    os.truncate(file, 0)


def another(file):
    file.write_bytes(b"[" * 99_999 if file.suffix == ".json" else bytes(file.stat().st_size))


@pytest.mark.parametrize("suffix", ["npy", "json"])
@pytest.mark.parametrize("damage", [cut, lengthened, emptied, another, Path.unlink], ids=lambda f: f.__name__)
def test_a_damaged_cache_is_not_believed(pets, cache, reads, suffix, damage):
    plain = image_folder(pets, 8)
    image_folder(pets, 8, cache=cache)
    (file,) = cache.glob(f"*.{suffix}")
    damage(file)
    del reads[:]
    for decoded in (12, 0):
        assert_same(image_folder(pets, 8, cache=cache), plain)
        assert len(reads) == decoded
        del reads[:]


@pytest.mark.parametrize("suffix", ["npy", "json"])
def test_a_flipped_bit_is_found(pets, cache, suffix):
    (pets / "cat" / "01.png").write_bytes(b"none")
    with pytest.warns(UserWarning, match="left out 1"):
        plain = image_folder(pets, 8, cache=cache, skip_damaged=True)
    (file,) = cache.glob(f"*.{suffix}")
    whole = file.read_bytes()
    for place in range(0, len(whole), 41):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(damaged)
        with pytest.warns(UserWarning, match="left out 1"):
            assert_same(image_folder(pets, 8, cache=cache, skip_damaged=True), plain)
        assert file.read_bytes() == whole


@pytest.mark.parametrize("text", ["null", "[]", "{}", '{"source": 1, "damaged": {}}', '{"source": {}, "damaged": []}'])
def test_another_note_is_not_believed(pets, cache, text):
    plain = image_folder(pets, 8)
    image_folder(pets, 8, cache=cache)
    (file,) = cache.glob("*.json")
    file.write_text(text)
    (cache / "images-0123456789abcdef.json").write_text(text)  # nor is one that stands beside it
    assert_same(image_folder(pets, 8, cache=cache), plain)


# Damaged images


def test_damaged_images_are_remembered(pets, cache, reads):
    for name in ("cat/01.png", "dog/04.png"):
        (pets / name).write_bytes(b"none")
    for decoded in (12, 0):
        with pytest.raises(
            DataError, match=r"01\.png: .* skip_damaged=True .*1 more of 12 files are damaged: .*04\.png"
        ):
            image_folder(pets, 8, cache=cache)
        with pytest.warns(UserWarning, match=r"left out 2 of 12 files, which are damaged: .*01\.png, .*04\.png"):
            data = image_folder(pets, 8, val=0, cache=cache, skip_damaged=True)
        assert len(reads) == decoded
        del reads[:]
        assert [Path(file).name for file in data.skipped] == ["01.png", "04.png"]
        np.testing.assert_array_equal(data.train[0], [draw(i) for i in (2, 3, 5, 6, 7, 9, 10, 11, 0, 8)])
        assert data.train[1].tolist() == [0] * 8 + [1] * 2
    (file,) = cache.glob("*.npy")
    assert np.load(file).shape == (10, 8, 8, 3)


def test_nothing_but_damaged_images(pets, cache):
    for file in pets.rglob("*.png"):
        file.write_bytes(b"none")
    for _ in range(2):
        with pytest.warns(UserWarning, match="left out 12 of 12"), pytest.raises(DataError, match="all are damaged"):
            image_folder(pets, 8, cache=cache, skip_damaged=True)


# Interruptions, and others at work


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(28, "No space left on device")])
def test_a_decoding_that_is_interrupted_leaves_nothing(pets, cache, monkeypatch, error):
    def interrupted(path, **options):
        if path.name == "10.png":
            raise error
        return cl.datasets.read_image(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "read_image", interrupted)
        with pytest.raises(error if isinstance(error, type) else OSError):
            image_folder(pets, 8, cache=cache)
    assert names_in(cache) == []
    assert_same(image_folder(pets, 8, cache=cache), image_folder(pets, 8))


def test_a_disk_that_is_too_full_is_known_at_the_beginning(pets, cache, reads, monkeypatch):
    free = shutil.disk_usage(pets)._replace(free=12 * 8 * 8 * 3 - 1)
    monkeypatch.setattr("shutil.disk_usage", lambda path: free)
    with pytest.raises(
        OSError, match=r"No space left on device: 2,304 bytes are needed, 2,303 are free: .*images-.*npy"
    ):
        image_folder(pets, 8, cache=cache)
    assert reads == names_in(cache) == []


def test_what_a_killed_process_leaves_is_not_believed_and_goes(pets, cache):
    script = (
        "import os, signal, sys\nfrom cnnlayers.data import folder\nread = folder.read_image\n"
        "def dying(path, **options):\n"
        "    return os.kill(os.getpid(), signal.SIGKILL) if path.name == '10.png' else read(path, **options)\n"
        "folder.read_image = dying\nfolder.image_folder(sys.argv[1], 8, cache=sys.argv[2])\n"
    )
    subprocess.run([sys.executable, "-c", script, str(pets), str(cache)], cwd=Path(__file__).parents[2], check=False)
    (left,) = names_in(cache)
    assert left.endswith(".tmp")
    assert_same(image_folder(pets, 8, cache=cache), image_folder(pets, 8))
    assert left in names_in(cache)  # another process may be writing it
    os.utime(cache / left, (time.time() - 90_000,) * 2)
    put(pets / "cat" / "50.png", 50)
    image_folder(pets, 8, cache=cache)
    assert left not in names_in(cache)


def test_processes_at_the_same_time(pets, cache):
    script = (
        "import sys, hashlib, numpy as np\nfrom cnnlayers.data.folder import image_folder\n"
        "data = image_folder(sys.argv[1], 8, val=0, cache=sys.argv[2])\n"
        "print(hashlib.sha256(np.asarray(data.train[0]).tobytes()).hexdigest())"
    )
    command = [sys.executable, "-c", script, str(pets), str(cache)]
    running = [
        subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    found = {process.communicate()[0] for process in running}
    assert len(found) == 1
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(names_in(cache)) == 2


def test_a_system_that_keeps_files_that_are_mapped(pets, cache, monkeypatch):
    """As Windows does: then the images of another state of the folder stay as long as somebody uses them."""
    files_as_on_windows(monkeypatch)
    monkeypatch.setattr(parts, "SMALL", 0)
    for seed in (50, 51):
        data = image_folder(pets, 8, cache=cache)
        assert_same(data, image_folder(pets, 8))
        first = names_in(cache)
        put(pets / "cat" / "50.png", seed)
    assert len(first) == 2 * 2
    del data
    gc.collect()
    image_folder(pets, 8, cache=cache)
    assert len(names_in(cache)) == 2
    assert not set(names_in(cache)) & set(first)


def test_another_process_has_decoded_the_same_and_maps_it(pets, cache, monkeypatch):
    """Then Windows does not let this one put its images in place."""
    monkeypatch.setattr("cnnlayers.writing.PATIENCE", 0)
    real = os.replace

    def too_late(written, path):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", real)
            if not Path(path).exists():
                image_folder(pets, 8, cache=cache)
        raise PermissionError(errno.EACCES, "Access is denied")

    monkeypatch.setattr(os, "replace", too_late)
    assert_same(image_folder(pets, 8, cache=cache), image_folder(pets, 8))
    assert len(names_in(cache)) == 2
    for file in cache.iterdir():
        file.write_bytes(b"damaged")
    with pytest.raises(PermissionError, match=r"Access is denied: .*images-.*npy"):
        image_folder(pets, 8, cache=cache)


# Memory

PEAK = """
import sys
import cnnlayers as cl

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))

def work(size):
    data = cl.datasets.image_folder(sys.argv[1], size, val=0.2, test=0.2, cache=sys.argv[2])
    layers = [cl.AvgPool(8), cl.Flatten(), cl.Affine(2)]
    net = cl.Sequential([cl.Normalize(*cl.datasets.channel_stats(data.train[0])), *layers], (size, size, 3), rng=0)
    options = {"loss": cl.SoftmaxLoss(), "optimizer": cl.SGD(lr=1e-6), "epochs": 1, "batch_size": 2}
    solver = cl.Solver(net, data.train, data.val, **options, checkpoint=sys.argv[3], progress=False)
    solver.train()
    solver.evaluate(*data.test)
    net.predict(data.test[0], batch_size=2)
    cl.Solver.resume(sys.argv[3] + "/last.safetensors", data.train, data.val)
    return sum(part[0].nbytes for part in (data.train, data.val, data.test))

work(16)  # all that is imported
before = peak()
for _ in ("decoded", "read"):
    print(work(480), peak() - before)
"""


def test_the_images_are_never_all_in_memory(tmp_path):
    """Not while they are decoded, trained on, evaluated and predicted; pages of the file count too."""
    for number in range(200):
        path = tmp_path / "pets" / ("cat" if number % 2 else "dog") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(number)).save(path)
    command = [sys.executable, "-c", PEAK, *(str(tmp_path / name) for name in ("pets", "kept", "run"))]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        decoded, taken = map(int, line.split())
        assert decoded == 200 * 480 * 480 * 3
        assert taken < 2 / 3 * decoded


# Where it may be


def test_a_cache_among_the_images_is_refused(pets):
    for cache in (pets, pets / "kept", pets / "cat", pets / "cat" / ".." / "kept"):
        with pytest.raises(
            ValueError, match=r"image_folder: cache must be a folder outside of .*pets, which holds images"
        ):
            image_folder(pets, 8, cache=cache)
    for _ in range(2):
        assert image_folder(pets, 8, cache=pets / ".cache").classes == ("cat", "dog")


def test_a_cache_that_cannot_be_written_is_named(pets, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(FileExistsError, match="file"):
        image_folder(pets, 8, cache=tmp_path / "file")
