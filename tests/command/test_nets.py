"""`evaluate`, `predict`, `explain`, `summary`, `gradcheck` and `bench`."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import cnnlayers as cl
from benchmarks import __main__ as benchmarks
from cnnlayers.command import main as front
from cnnlayers.command import nets
from tests.command.common import failure, image_folder, npz_file, refused, run


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def photo_run(photos, tmp_path_factory):
    """A run on two kinds of images."""
    folder = tmp_path_factory.mktemp("runs") / "photos"
    arguments = ["train", photos, "--model", "linear", "--size", 8, "--test", 6, "--no-report", "--out", folder]
    assert front.main([str(a) for a in arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def digits_net(tmp_path_factory):
    file = tmp_path_factory.mktemp("runs") / "net.safetensors"
    assert front.main(["train", "--model", "linear", "--epochs", "3", "--out", str(file)]) == 0
    return file


# evaluate


def test_evaluate_a_run_on_its_own_data(photo_run, capsys):
    code, told, _ = run(capsys, "evaluate", photo_run)
    assert code == 0
    assert told.splitlines()[1] == "test accuracy: 100.0%"
    assert run(capsys, "evaluate", photo_run / "best.safetensors")[1].splitlines()[1] == "test accuracy: 100.0%"
    code, told, _ = run(capsys, "evaluate", photo_run, "--part", "val")
    assert (code, told.splitlines()[1]) == (0, "val accuracy: 100.0%")


def test_evaluate_on_other_data(photo_run, photos, digits_net, tmp_path, capsys):
    code, told, _ = run(capsys, "evaluate", photo_run, photos)  # in the size that the net takes
    assert (code, told.splitlines()[1]) == (0, "test accuracy: 100.0%")
    rows = npz_file(tmp_path / "rows.npz")
    said = failure(capsys, "evaluate", digits_net, rows)
    assert f"the net knows 10 classes (0, 1, 2, 3, 4, ...); {rows} has 3 classes (0, 1, 2)" in said
    said = failure(capsys, "evaluate", photo_run, rows)
    assert f"the net takes inputs of shape (8, 8, 3); {rows} has (8, 8, 1)" in said
    np.savez(tmp_path / "first.npz", x=np.zeros((6, 3, 8, 8), np.uint8), y=np.arange(6) % 3)
    said = failure(capsys, "evaluate", photo_run, tmp_path / "first.npz")
    assert "first.npz has (3, 8, 8); channels come last here, and cl.from_nchw(x) puts them there" in said
    npz_file(rows, test=0)
    np.savez(tmp_path / "train.npz", x=np.zeros((20, 8, 8, 1), np.uint8), y=np.arange(20) % 10)
    said = failure(capsys, "evaluate", digits_net, tmp_path / "train.npz", "--part", "test")
    assert "has no test part; it has train" in said


def two_classes(path, *layers):
    """A net that tells dark 4x4 images from bright ones, and data of both, one of six on the wrong side."""
    shades = np.array([250, 240, 120, 10, 20, 30], np.uint8)
    x, y = np.tile(shades[:, None, None, None], (1, 4, 4, 1)), np.array([1, 1, 1, 0, 0, 0])
    np.savez(path / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    net = cl.Sequential([cl.Normalize(128, 32), cl.GlobalAvgPool(), *layers], input_shape=(4, 4, 1), rng=0)
    net.params["2.W"][...] = [[1.0]] if len(net.params["2.b"]) == 1 else [[0.0, 1.0]]
    net.save(path / "net.safetensors", classes=["0", "1"])
    return x, y


@pytest.mark.parametrize(
    "layers",
    [[cl.Affine(2)], [cl.Affine(2), cl.Softmax()], [cl.Affine(1), cl.Sigmoid()]],
    ids=["raw", "Softmax", "Sigmoid"],
)
def test_evaluate_takes_the_probabilities_that_the_net_gives(layers, tmp_path, capsys):
    x, y = two_classes(tmp_path, *[layer.copy() for layer in layers])
    p = 1 / (1 + np.exp(-(x[:, 0, 0, 0] - 128.0) / 32))
    loss = -np.log(np.where(y == 1, p, 1 - p)).mean()
    code, told, _ = run(capsys, "evaluate", tmp_path / "net.safetensors", tmp_path / "data.npz")
    assert code == 0
    assert told == f"test loss: {loss:.4f}\ntest accuracy: {5 / 6:.1%}\n"


def test_views_are_of_images(tmp_path, capsys):
    x, y = np.random.default_rng(0).normal(size=(12, 8, 2)), np.arange(12) % 2
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    net = cl.Sequential([cl.Flatten(), cl.Affine(2)], input_shape=(8, 2), rng=0)
    net.save(tmp_path / "net.safetensors", classes=["0", "1"])
    arguments = "evaluate", tmp_path / "net.safetensors", tmp_path / "data.npz"
    said = failure(capsys, *arguments, "--views", "mirror")
    assert "--views is for nets of images (H, W, C); this one takes shape (8, 2)" in said
    assert run(capsys, *arguments)[0] == 0


def test_evaluate_of_what_does_not_tell_classes_apart(tmp_path, capsys):
    for i, layers in enumerate(([cl.Flatten(), cl.Affine(1)], [cl.Conv(2, 3)])):
        file = tmp_path / f"{i}.safetensors"
        cl.Sequential(layers, input_shape=(8, 8, 1), rng=0).save(file)
        said = failure(capsys, "evaluate", file)
        assert ("gives one score" if i == 0 else "gives (N, 6, 6, 2), not a row of scores") in said


def test_a_run_without_a_net(tmp_path, capsys):
    for command in ("evaluate", "summary"):
        assert f"there is no net in {tmp_path}: no net.safetensors, " in failure(capsys, command, tmp_path)


# predict


def test_predict(photo_run, photos, capsys):
    files = [photos / "dark" / "3.png", photos / "bright" / "0.png"]
    code, told, _ = run(capsys, "predict", photo_run, *files)
    assert code == 0
    lines = told.splitlines()
    assert [line.rsplit(" ", 1)[0] for line in lines] == [f"{files[0]}: dark", f"{files[1]}: bright"]
    net = cl.load(photo_run / "net.safetensors")
    x = cl.datasets.read_image(files[0], 8)[np.newaxis]
    assert lines[0].endswith(f" {net.predict_proba(x).max():.1%}")


@pytest.mark.parametrize("views", ["mirror", "mirror_and_shift"])
def test_predict_over_views(views, photo_run, photos, capsys):
    file = photos / "dark" / "3.png"
    p = cl.load(photo_run / "net.safetensors").predict_proba(
        cl.datasets.read_image(file, 8)[np.newaxis], views=getattr(cl.augment, views)
    )
    code, told, _ = run(capsys, "predict", photo_run, file, "--views", views)
    assert (code, told) == (0, f"{file}: dark {p.max():.1%}\n")


def test_predict_takes_images_of_any_size_and_mode(photo_run, tmp_path, capsys):
    for mode, value in (("L", 10), ("RGBA", (10, 10, 10, 255)), ("P", 0), ("1", 0)):
        Image.new(mode, (31, 17), value).save(tmp_path / f"{mode}.png")
    code, told, _ = run(capsys, "predict", photo_run, *sorted(tmp_path.iterdir()))
    assert code == 0
    assert len(re.findall(r": dark \d", told)) == 4


def test_predict_puts_transparent_images_on_a_ground(photo_run, tmp_path, capsys):
    """Wholly transparent: the ground is all that is seen."""
    Image.new("RGBA", (9, 9), (90, 90, 90, 0)).save(tmp_path / "a.png")
    file = tmp_path / "a.png"
    assert ": bright" in run(capsys, "predict", photo_run, file)[1]
    assert ": dark" in run(capsys, "predict", photo_run, file, "--background", 0)[1]
    assert ": dark" in run(capsys, "predict", photo_run, file, "--background", "0,9,0")[1]
    said = refused(capsys, "predict", photo_run, file, "--background", 256)
    assert "argument --background: 0 to 255, or three of them such as 255,128,0, are needed; got '256'" in said
    dark_run = tmp_path / "run"
    dark_run.mkdir()
    for name in ("net.safetensors", "config.toml"):
        (dark_run / name).write_bytes((photo_run / name).read_bytes())
    config = (dark_run / "config.toml").read_text()
    (dark_run / "config.toml").write_text(config.replace("background = 255", "background = [0, 0, 9]"))
    assert ": dark" in run(capsys, "predict", dark_run, file)[1]


def test_predict_images_that_break_off(photo_run, tmp_path, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 90, (32, 32, 3), np.uint8)).save(tmp_path / "a.jpg")
    file = tmp_path / "a.jpg"
    file.write_bytes(file.read_bytes()[:-9])
    assert "a.jpg: expected an image" in failure(capsys, "predict", photo_run, file)
    assert "--truncated takes what can be decoded" in failure(capsys, "predict", photo_run, file)
    assert ": dark" in run(capsys, "predict", photo_run, file, "--truncated")[1]


def test_predict_the_likeliest_classes(digits_net, tmp_path, capsys):
    x, y = cl.datasets.digits().test
    net = cl.load(digits_net)
    right = int(np.argmax(net.predict(x).argmax(axis=1) == y))
    Image.fromarray((255 - x[right, :, :, 0] * (255 / 16)).round().astype(np.uint8)).save(tmp_path / "a.png")
    code, told, _ = run(capsys, "predict", digits_net, tmp_path / "a.png", "--invert", "--white", 16, "--top", 3)
    assert code == 0
    shown = re.findall(r"(\d) (\d+\.\d)%", told)
    assert len(shown) == 3
    assert shown[0][0] == str(y[right])
    assert [float(p) for _, p in shown] == sorted((float(p) for _, p in shown), reverse=True)


def test_predict_without_class_names(tmp_path, capsys):
    net = cl.models.linear(classes=4, rng=0)
    net.save(tmp_path / "net.safetensors")
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert re.search(
        r"a\.png: [0-3] \d+\.\d%\n$", run(capsys, "predict", tmp_path / "net.safetensors", tmp_path / "a.png")[1]
    )


def predicted(capsys, tmp_path, net, *options, classes=None):
    """What the command says of a black 8x8 image: after the file's name on standard output, and on standard error."""
    net.save(tmp_path / "net.safetensors", classes=classes)
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    code, told, said = run(capsys, "predict", tmp_path / "net.safetensors", tmp_path / "a.png", *options)
    assert (code, told[: len(str(tmp_path)) + 8]) == (0, f"{tmp_path}/a.png: ")
    return told[len(str(tmp_path)) + 8 :].rstrip("\n"), said


def of_black(b, *last):
    """A net whose scores of a black image are b."""
    net = cl.Sequential([cl.Flatten(), cl.Affine(len(b)), *last], input_shape=(8, 8, 1), rng=0)
    net.params["1.b"][...] = b
    return net


@pytest.mark.parametrize("last", [[], [cl.Softmax()], [cl.Softmax(), cl.Dropout(0.5)]])
def test_predict_says_what_predict_proba_gives(last, tmp_path, capsys):
    net = of_black([5, 0, 0], *[layer.copy() for layer in last])
    assert predicted(capsys, tmp_path, net, classes=["cat", "dog", "cow"]) == ("cat 98.7%", "")


def test_predict_of_sigmoids_gives_each_class_its_own_probability(tmp_path, capsys):
    net = of_black(np.log([4, 1 / 3, 9]), cl.Sigmoid())
    names = ["cat", "dog", "cow"]
    assert predicted(capsys, tmp_path, net, classes=names)[0] == "cow 90.0%, cat 80.0%, dog 25.0%"
    assert predicted(capsys, tmp_path, net, "--top", 1, classes=names)[0] == "cow 90.0%"


def test_predict_of_one_sigmoid(tmp_path, capsys):
    net = of_black([np.log(3 / 7)], cl.Sigmoid())
    assert predicted(capsys, tmp_path, net) == ("30.0%", "")
    assert predicted(capsys, tmp_path, net, classes=["cat"])[0] == "cat 30.0%"
    assert predicted(capsys, tmp_path, net, classes=["dog", "cat"])[0] == "dog 70.0%, cat 30.0%"
    assert predicted(capsys, tmp_path, net, "--top", 1, classes=["dog", "cat"])[0] == "dog 70.0%"


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c", "d"), ()])
def test_predict_with_another_number_of_names_gives_numbers_and_says_so(names, tmp_path, capsys):
    net = of_black([0, 5, 0])
    net.classes = names
    told, said = predicted(capsys, tmp_path, net)
    assert told == "1 98.7%"
    assert said.endswith(f"net.safetensors: the net has {len(names)} names for 3 classes, so numbers are printed\n")


def test_predict_needs_scores(tmp_path, capsys):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    for i, layers in enumerate(([cl.Flatten(), cl.Affine(1)], [cl.Conv(2, 3)])):
        file = tmp_path / f"{i}.safetensors"
        cl.Sequential(layers, input_shape=(8, 8, 1), rng=0).save(file)
        said = failure(capsys, "predict", file, tmp_path / "a.png", "--top", 10)
        assert ("end the net in Sigmoid()" if i == 0 else "gives (N, 6, 6, 2), not a row of scores (N, C)") in said


def test_what_cannot_be_predicted(photo_run, tmp_path, capsys, monkeypatch):
    assert "none.png" in failure(capsys, "predict", photo_run, tmp_path / "none.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    assert "bad.png: expected an image" in failure(capsys, "predict", photo_run, tmp_path / "bad.png")
    signals = cl.Sequential([cl.Flatten(), cl.Affine(2)], input_shape=(20, 2), rng=0)
    signals.save(tmp_path / "signals.safetensors")
    said = failure(capsys, "predict", tmp_path / "signals.safetensors", "a.png")
    assert "the net takes inputs of shape (20, 2), which are no gray or colour images" in said
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert 'predict needs Pillow: pip install "cnnlayers[images]"' in failure(capsys, "predict", photo_run, "a.png")


def test_predict_goes_on_after_bad_images(photo_run, photos, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "deep.png")
    good = [photos / "dark" / "3.png", photos / "bright" / "0.png"]
    bad = [tmp_path / "none.png", tmp_path / "bad.png", tmp_path, tmp_path / "deep.png"]
    code, told, said = run(capsys, "predict", photo_run, bad[0], good[0], *bad[1:], good[1])
    assert code == 1
    assert [line.split(": ")[0] for line in told.splitlines()] == [str(file) for file in good]
    lines = said.splitlines()
    assert len(lines) == 4
    for line, file, why in zip(
        lines, bad, ("No such file", "damaged or none", "Is a directory", "8 bits"), strict=True
    ):
        assert line.startswith("cnnlayers: ")
        assert str(file) in line
        assert why in line
    assert run(capsys, "predict", photo_run, *good)[::2] == (0, "")


# explain


def test_explain_a_sample_of_the_runs_data(photo_run, tmp_path, capsys):
    page = photo_run / "explain.html"
    assert run(capsys, "explain", photo_run) == (0, f"explain: {page}\n", "")
    assert '"classes":["bright","dark"]' in page.read_text(encoding="utf-8")
    other = tmp_path / "other.html"
    assert run(capsys, "explain", photo_run, "--sample", 5, "--train", "--out", other)[0] == 0
    assert '"train":true' in other.read_text(encoding="utf-8")
    said = failure(capsys, "explain", photo_run, "--sample", 6)
    assert "--sample must be in 0..5, of what " in said
    assert "--out NAME.html; got 'net.safetensors'" in refused(capsys, "explain", photo_run, "--out", "net.safetensors")
    assert "--label needs a RUN" in refused(capsys, "explain", "--label", "dark")
    assert "an IMAGE is given" in refused(capsys, "explain", photo_run, "a.png", "--sample", 2)


def test_explain_of_a_net_that_the_digits_do_not_fit(tmp_path, capsys):
    net = cl.Sequential([cl.Flatten(), cl.Affine(3)], input_shape=(5, 5, 1), rng=0)
    net.save(tmp_path / "net.safetensors")
    said = failure(capsys, "explain", tmp_path / "net.safetensors")
    assert "takes inputs of shape (5, 5, 1); the digits have (8, 8, 1): name an IMAGE" in said


def test_explain_an_image(photo_run, photos, tmp_path, capsys):
    page = tmp_path / "page.html"
    image = photos / "dark" / "0.png"
    assert run(capsys, "explain", photo_run, image, "--label", "bright", "--out", page)[0] == 0
    text = page.read_text(encoding="utf-8")
    assert run(capsys, "explain", photo_run, image, "--out", page)[0] == 0  # the net's own answer, dark
    assert page.read_text(encoding="utf-8") != text
    said = failure(capsys, "explain", photo_run, image, "--label", "grey", "--out", page)
    assert "--label must be one of bright, dark; got 'grey'" in said
    assert "a.png" in failure(capsys, "explain", photo_run, tmp_path / "a.png", "--out", page)


def test_explain_without_a_net_is_the_tour(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "explain") == (0, "explain: explain.html\n", "")
    assert "Problem 6" in (tmp_path / "explain.html").read_text(encoding="utf-8")


# summary and gradcheck


def test_summary_of_a_run_and_of_a_net_of_the_package(photo_run, capsys):
    code, told, _ = run(capsys, "summary", photo_run)
    assert (code, told.splitlines()[-1]) == (0, "classes: bright, dark")
    assert run(capsys, "summary", "lenet") == (0, f"{cl.models.lenet(rng=0).summary()}\n", "")


@pytest.mark.parametrize("name", ["linear", "cnn", "resnet"])
def test_gradcheck_of_a_net_of_the_package(name, capsys):
    code, told, _ = run(capsys, "gradcheck", name, "--samples", 4)
    assert code == 0
    assert told.splitlines()[-1] == "passed: every error is within 1e-06"


def test_gradcheck_of_a_file(photo_run, capsys, monkeypatch):
    code, told, _ = run(capsys, "gradcheck", photo_run, "--batch-size", 3, "--samples", 5)
    assert code == 0
    assert re.search(r"^x +\(3, 8, 8, 3\)", told, flags=re.MULTILINE)

    def wrong(net, x, **options):
        report = cl.gradcheck(net, x, **options)
        report.errors["x"] = 1.0
        return report

    monkeypatch.setattr(nets, "check_gradients", wrong)
    assert run(capsys, "gradcheck", photo_run, "--samples", 1)[0] == 1


# bench


def test_bench_hands_its_arguments_on(capsys, monkeypatch):
    calls = []

    def called(command, **options):
        calls.append((command, options["env"]["PYTHONPATH"]))
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", called)
    assert run(capsys, "bench", "step", "--quick", "--seconds", 1) == (3, "", "")
    ((command, path),) = calls
    assert command[1:] == ["-m", "benchmarks", "step", "--quick", "--seconds", "1"]
    assert path.split(":")[0] == str(front.Path(front.__file__).parents[2])


def test_help_of_bench_says_what_it_runs_and_needs(capsys):
    """Of benchmarks' own options each one."""
    with pytest.raises(SystemExit):
        benchmarks.parse(["--help"])
    own = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", capsys.readouterr().out))
    assert len(own) >= 9
    with pytest.raises(SystemExit) as ended:
        front.main(["bench", "--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    for word in (*benchmarks.SUITES, "accuracy", *own, "checkout", "PyTorch", "threadpoolctl"):
        assert re.search(rf"(?<![\w-]){word}(?![\w-])", told), word
    assert max(map(len, told.splitlines())) <= 100


def test_bench_outside_of_a_checkout(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(front, "__file__", str(tmp_path / "site-packages" / "cnnlayers" / "command" / "main.py"))
    assert "bench works from a checkout of the repository" in failure(capsys, "bench")


def test_nobody_reads_on(tmp_path):
    """`cnnlayers summary lenet | true` ends without a complaint."""
    program = "from cnnlayers.command.main import main\nfor _ in range(99): main(['summary', 'lenet'])"
    root = front.Path(front.__file__).parents[2]
    with subprocess.Popen(
        [front.sys.executable, "-u", "-c", program],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert said == b""
