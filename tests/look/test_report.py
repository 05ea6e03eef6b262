"""The report page: what it says, and that a real browser shows all of it and asks for nothing else."""

import contextlib
import dataclasses
import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.look import report
from cnnlayers.look.report import run

matplotlib = pytest.importorskip("matplotlib")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def digits():
    return cl.datasets.digits()


def trained(digits, model=cl.models.digits_cnn, epochs=2):
    net = model(rng=0)
    solver = cl.Solver(
        net, digits.train, digits.val, loss=cl.SoftmaxLoss(), optimizer=cl.Adam(), epochs=epochs, progress=False
    )
    return net, solver.train()


@pytest.fixture(scope="module")
def page(digits, tmp_path_factory):
    """The page of a run."""
    net, history = trained(digits)
    return report.write(
        tmp_path_factory.mktemp("run"),
        net=net,
        history=history,
        data=digits,
        about={"model": "cnn", "data": "<the digits> & more"},
        title='A "run" <1>',
        config='model = "cnn"\nout = "<here>"\n',
    )


# What it says


def test_it_says_what_the_run_reached(page, digits):
    net, history = trained(digits)
    text = page.read_text(encoding="utf-8")
    x, y = digits.test
    accuracy = cl.accuracy(net.predict(x), y)
    assert f"<h1>Test accuracy: {accuracy:.1%}</h1>" in text
    assert f"{round(accuracy * 360)} of 360 test samples right, in 10 classes" in text
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text))
    assert facts["parameters"] == f"{net.flat_params.size:,}"
    assert facts["epochs"] == "2"
    assert facts["test cross-entropy"] == f"{cl.SoftmaxLoss().forward(net.predict(x), y):.4f}"
    assert facts["its loss, train / val"] == f"{history['train_loss'][-1]:.4f} / {history['val_loss'][-1]:.4f}"
    assert net.summary().splitlines()[-1] in text


class InAFile:
    """Samples of which only a few may be read at a time."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        assert len(self.array[rows]) <= 64
        return self.array[rows]


def test_samples_that_are_not_in_memory_give_the_same_page(page, digits, tmp_path):
    net, history = trained(digits)
    data = dataclasses.replace(digits, train=(InAFile(digits.train[0]), digits.train[1]))
    data = dataclasses.replace(data, test=(InAFile(digits.test[0]), digits.test[1]))
    about = {"model": "cnn", "data": "<the digits> & more"}
    title, config = 'A "run" <1>', 'model = "cnn"\nout = "<here>"\n'
    own = report.write(tmp_path, net=net, history=history, data=data, about=about, title=title, config=config)
    one, other = (path.read_text(encoding="utf-8") for path in (own, page))
    clock = re.compile(r"written by .*|<dt>time</dt>.*")
    assert clock.sub("", one) == clock.sub("", other)


def test_a_net_of_one_layer(tmp_path):
    net = cl.Affine(3)
    net.build((4,), rng=0)
    rng = np.random.default_rng(0)
    data = cl.datasets.arrays((rng.normal(size=(100, 4)), np.arange(100) % 3), val=20)
    assert (
        "Validation accuracy"
        in report.write(tmp_path, net=net, history=cl.History(), data=data, part="val").read_text()
    )


def test_what_the_run_is_called_is_text_and_not_markup(page):
    text = page.read_text(encoding="utf-8")
    assert "<title>A &quot;run&quot; &lt;1&gt;</title>" in text
    assert "<dd>&lt;the digits&gt; &amp; more</dd>" in text
    assert "out = &quot;&lt;here&gt;&quot;" in text


def test_it_has_every_section(page):
    titles = re.findall(r"<h2>(.*?)</h2>", page.read_text(encoding="utf-8"))
    assert titles == [
        *("How it learned", "Where it errs", "Its hardest images", "What it looks at", "What it has learned"),
        *("Weights, layer by layer", "The net", "Configuration"),
    ]


def test_it_is_one_file_without_scripts_and_links(page):
    text = page.read_text(encoding="utf-8")
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]
    assert "http:" not in text
    assert "https:" not in text
    assert "<script" not in text
    assert not re.search(r"(?:href|src)=\"(?!data:|#)", text)
    assert len(set(re.findall(r'\bid="(.*?)"', text))) == len(re.findall(r'\bid="', text))
    for target in re.findall(r'href="#(.*?)"|url\(#(.*?)\)', text):
        assert f'id="{target[0] or target[1]}"' in text


def test_it_links_to_the_page_of_every_number(digits, tmp_path):
    net = cl.models.linear(rng=0)
    text = report.write(tmp_path, net=net, history=cl.History(), data=digits).read_text(encoding="utf-8")
    assert "<code>cnnlayers explain RUN</code>" in text
    assert "<a " not in text
    cl.explain.write(tmp_path / "explain.html", net, digits.test[0][0])
    text = report.write(tmp_path, net=net, history=cl.History(), data=digits).read_text(encoding="utf-8")
    assert '<a href="explain.html">' in text


def test_the_net_is_left_as_it_is(digits, tmp_path):
    net, history = trained(digits, epochs=1)
    before = net.flat_params.copy(), net.flat_grads.copy()
    report.write(tmp_path, net=net, history=history, data=digits)
    np.testing.assert_array_equal(net.flat_params, before[0])
    np.testing.assert_array_equal(net.flat_grads, before[1])


def test_a_net_without_convolution_and_a_run_without_epochs(digits, tmp_path):
    text = report.write(tmp_path, net=cl.models.linear(rng=0), history=cl.History(), data=digits).read_text(
        encoding="utf-8"
    )
    assert "How it learned" not in text
    assert "(Grad-CAM" not in text
    assert "(saliency)" in text


def test_signals_and_a_net_that_does_not_classify(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 30, 2))
    y = rng.integers(0, 3, 20)
    data = cl.data.datasets.Dataset((x, y), (x, y), (x, y), ("a", "b", "c"))
    layers = [cl.Conv(4, 3), cl.ReLU(), cl.GlobalAvgPool()]
    signals = cl.Sequential([*layers, cl.Affine(3)], input_shape=(30, 2), rng=0)
    text = report.write(tmp_path, net=signals, history=cl.History(), data=data).read_text(encoding="utf-8")
    assert "Where it errs" in text
    assert "Its hardest images" not in text
    other = cl.Sequential([cl.Conv(2, 3, padding="same")], input_shape=(30, 2), rng=0)
    text = report.write(tmp_path, net=other, history=cl.History(), data=data).read_text(encoding="utf-8")
    assert "<h1>Training run</h1>" in text
    assert "Weights, layer by layer" in text


@pytest.mark.parametrize("last", [[cl.Affine(2)], [cl.Affine(2), cl.Softmax()], [cl.Affine(1), cl.Sigmoid()]])
def test_it_judges_by_the_probabilities_that_the_net_gives(last, tmp_path):
    x = np.repeat([250, 240, 120, 10], 16).reshape(4, 4, 4, 1).astype(np.uint8)
    y, p = np.array([1, 1, 1, 0]), 1 / (1 + np.exp((128 - np.array([250, 240, 120, 10])) / 32))
    layers = [cl.Normalize(128, 32), cl.GlobalAvgPool(), *(layer.copy() for layer in last)]
    net = cl.Sequential(layers, input_shape=(4, 4, 1), rng=0)
    net.params["2.W"][...] = [[1.0]] if len(net.params["2.b"]) == 1 else [[0.0, 1.0]]
    data = cl.data.datasets.Dataset((x, y), None, (x, y), ("dark", "bright"))
    text = report.write(tmp_path, net=net, history=cl.History(), data=data).read_text(encoding="utf-8")
    assert "Test accuracy: 75.0%" in text
    assert f"<dd>{-np.log(np.where(y == 1, p, 1 - p)).mean():.4f}</dd>" in text
    assert "<td>bright<td>dark<td>1<td>33.3%" in text
    assert ("gradients" in text) == (len(last) == 1)  # those of SoftmaxLoss would be of another loss


def test_one_score_that_is_no_probability_is_not_judged(tmp_path):
    x, y = np.zeros((4, 4, 4, 1), np.uint8), np.zeros(4, int)
    net = cl.Sequential([cl.Flatten(), cl.Affine(1)], input_shape=(4, 4, 1), rng=0)
    data = cl.data.datasets.Dataset((x, y), None, (x, y), ("metres",))
    text = report.write(tmp_path, net=net, history=cl.History(), data=data).read_text(encoding="utf-8")
    assert "accuracy" not in text


def test_names_in_any_script_draw_without_a_warning(tmp_path):
    rng = np.random.default_rng(0)
    pair = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8), np.arange(12) % 2
    data = cl.data.datasets.Dataset(pair, pair, pair, ("猫", "<b>$x$"))
    net = cl.Sequential([cl.Conv(4, 3), cl.ReLU(), cl.GlobalAvgPool(), cl.Affine(2)], input_shape=(8, 8, 3), rng=0)
    text = report.write(tmp_path, net=net, history=cl.History(), data=data).read_text(encoding="utf-8")
    assert "猫" in text
    assert "&lt;b&gt;$x$" in text
    assert "<b>" not in text


# What a run leaves on disk


@pytest.fixture
def run_folder(digits, tmp_path):
    net, history = trained(digits, cl.models.linear, epochs=1)
    net.save(tmp_path / "net.safetensors", digits.classes)
    history.save(tmp_path / "net.csv")
    return tmp_path


def test_report_run_takes_what_the_folder_holds(run_folder):
    (run_folder / "config.toml").write_text("seed = 3\n")
    assert report.report_run(run_folder) == run_folder / "report.html"
    text = (run_folder / "report.html").read_text(encoding="utf-8")
    assert "How it learned" in text
    assert "seed = 3" in text


def test_report_run_prefers_the_best_net_and_its_history(run_folder):
    cl.models.linear(rng=1).save(run_folder / "best.safetensors")
    shutil.move(run_folder / "net.csv", run_folder / "history.csv")
    report.report_run(run_folder)
    assert "<dd>best.safetensors</dd>" in (run_folder / "report.html").read_text(encoding="utf-8")
    report.report_run(run_folder / "net.safetensors")
    assert "<dd>net.safetensors</dd>" in (run_folder / "report.html").read_text(encoding="utf-8")


def test_report_run_of_a_run_that_was_killed(digits, tmp_path):
    """There is the last checkpoint, whose history has the steps too."""
    loss, optimizer = cl.SoftmaxLoss(), cl.SGD(lr=0.1)
    solver = cl.Solver(
        cl.models.linear(rng=0), digits.train, digits.val, loss=loss, optimizer=optimizer, checkpoint=tmp_path,
        progress=False,
    )  # fmt: skip
    solver.train(epochs=2)
    found = run._history(tmp_path / "best.safetensors")
    assert found.epochs == solver.history.epochs
    assert found.steps == solver.history.steps
    text = report.report_run(tmp_path, part="val").read_text(encoding="utf-8")
    assert "the thin line is the loss of each step" in text
    assert f"<h1>Validation accuracy: {solver.evaluate(*digits.val)['accuracy']:.1%}</h1>" in text


def test_a_part_that_is_not_there(digits, tmp_path):
    other = dataclasses.replace(digits, test=None)
    with pytest.raises(ValueError, match="the data has no test part"):
        report.write(tmp_path, net=cl.models.linear(rng=0), history=cl.History(), data=other)
    with pytest.raises(ValueError, match="part must be one of train, val, test; got 'all'"):
        report.write(tmp_path, net=cl.models.linear(rng=0), history=cl.History(), data=other, part="all")
    text = report.write(tmp_path, net=cl.models.linear(rng=0), history=cl.History(), data=other, part="train")
    assert "1,077 training, 360 validation samples of 8 x 8 x 1" in text.read_text(encoding="utf-8")


def test_report_run_of_what_is_no_run(run_folder, tmp_path_factory):
    with pytest.raises(FileNotFoundError, match="no net in it"):
        report.report_run(tmp_path_factory.mktemp("empty"))
    (run_folder / "net.safetensors").rename(run_folder / "a.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no history\.csv or a\.csv"):
        report.report_run(run_folder)
    cl.models.lenet(rng=0).save(run_folder / "b.safetensors")
    with pytest.raises(ValueError, match=r"several nets, a\.safetensors, b\.safetensors: name one"):
        report.report_run(run_folder)
    with pytest.raises(ValueError, match=r"inputs of shape \(28, 28, 1\); the data has \(8, 8, 1\)"):
        report.report_run(run_folder / "b.safetensors")


def test_without_matplotlib_nothing_is_written(digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="needs matplotlib: pip install"):
        report.write(tmp_path, net=cl.models.linear(rng=0), history=cl.History(), data=digits)
    assert list(tmp_path.iterdir()) == []


# In a browser

# Looks into the report, which it holds in a frame, and puts what it finds into its own document as JSON.
INSPECTOR = """<!DOCTYPE html>
<html><head><link rel="icon" href="data:,"></head>
<body style="margin: 0"><iframe src="report.html" style="width: 100%; height: 3000px; border: 0"></iframe>
<script>
function decoded(url) {
  const image = new Image();
  return new Promise(done => {
    image.onload = image.onerror = () => done(image.naturalWidth);
    image.src = url;
  });
}
window.addEventListener("load", async () => {
  const page = document.querySelector("iframe").contentDocument;
  const drawings = [...page.querySelectorAll("svg")].map(svg => {
    const box = svg.getBoundingClientRect(), marks = svg.querySelectorAll("path, text, image").length;
    return {label: svg.getAttribute("aria-label"), width: box.width, height: box.height, marks: marks};
  });
  const images = [...page.images].map(image => image.naturalWidth);
  for (const image of page.querySelectorAll("svg image")) images.push(await decoded(image.href.baseVal));
  const found = {
    title: page.title, drawings: drawings, images: images, text: page.body.innerText,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    background: getComputedStyle(page.body).backgroundColor,
  };
  const pre = document.createElement("pre");
  pre.id = "found";
  pre.textContent = JSON.stringify(found);
  document.body.append(pre);
});
</script></body></html>
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def served(folder):
    """A server of the folder on this machine alone."""
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def browse(url, scratch, *options):
    """Open a page: its document, what its console says, and the addresses that it asked for."""
    log = scratch / "net-log.json"
    switches = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    done = subprocess.run(
        [
            CHROMIUM, *switches.split(), "--disable-component-update", "--disable-extensions",
            "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--user-data-dir={scratch / 'profile'}",
            f"--log-net-log={log}", "--virtual-time-budget=20000", "--dump-dom", *options, url,
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    events = json.loads(log.read_text(errors="replace"))
    begun = events["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    asked = [
        event["params"] for event in events["events"] if event["type"] == begun and "url" in event.get("params", {})
    ]
    # What the browser does by itself (a look for updates; the address it was given) has no origin.
    return done.stdout, console, [each["url"] for each in asked if each.get("initiator") != "not an origin"]


def inspected(page, scratch, *options):
    """Open a report in a frame: what the inspector found, the console, and the addresses."""
    shutil.copy(page, scratch / "report.html")
    (scratch / "inspector.html").write_text(INSPECTOR)
    with served(scratch) as address:
        document, console, asked = browse(f"{address}/inspector.html", scratch, *options)
    text = re.search(r'<pre id="found">(.*?)</pre>', document, flags=re.DOTALL)[1]
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return json.loads(text), console, [url.removeprefix(address) for url in asked if not url.startswith("data:")]


@in_a_browser
def test_every_picture_shows(page, tmp_path):
    found, console, asked = inspected(page, tmp_path, "--window-size=1200,900")
    assert found["title"] == 'A "run" <1>'
    assert "Test accuracy" in found["text"]
    labels = [drawing["label"] for drawing in found["drawings"]]
    assert {"loss and accuracy", "confusion matrix", "where the net looks"} <= set(labels)
    assert len(labels) == 9
    for drawing in found["drawings"]:
        assert min(drawing["width"], drawing["height"]) > 60, drawing
        assert drawing["marks"] >= 3, drawing
    assert len(found["images"]) >= 5
    assert min(found["images"]) > 0
    assert found["overflow"] == 0
    assert console == []
    assert asked == ["/report.html"]


@in_a_browser
def test_it_fits_a_telephone_and_a_dark_screen(page, tmp_path):
    found, console, _ = inspected(page, tmp_path, "--window-size=500,900", "--blink-settings=preferredColorScheme=0")
    assert found["overflow"] == 0
    assert console == []
    assert sum(map(int, re.findall(r"\d+", found["background"]))) < 150


@in_a_browser
def test_opened_as_a_file_it_asks_for_nothing(page, tmp_path):
    document, console, asked = browse(page.as_uri(), tmp_path)
    assert "Test accuracy" in document
    assert console == []
    assert [url for url in asked if not url.startswith("data:")] == []


@in_a_browser
def test_the_inspector_sees_a_page_that_is_broken(tmp_path_factory):
    """The same questions find a picture that is not there, an error in the console, and a request."""
    folder = tmp_path_factory.mktemp("broken")
    page = folder / "page.html"
    page.write_text(
        '<title>x</title><img src="none.png"><img src="data:image/png;base64,AAAA"><svg aria-label="empty"></svg>'
        '<div style="width: 5000px">wide</div><script>nothing()</script>'
    )
    found, console, asked = inspected(page, tmp_path_factory.mktemp("scratch"), "--window-size=1200,900")
    assert found["images"] == [0, 0]
    assert found["drawings"][0]["marks"] == 0
    assert found["overflow"] > 0
    assert any("nothing is not defined" in line for line in console)
    assert "/none.png" in asked
