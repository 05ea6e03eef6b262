"""The page on which every number of a net can be picked: its numbers, and the page in a browser."""

import base64
import json
import re
import shutil

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import reference
from cnnlayers.look.explain import graph, kinds

SIZE = (4, 5, 4)

# Small nets that together hold every layer: the layers, the shape of a sample, how many, and whether in training.
NETS = {
    "conv": ([cl.Conv(6, (3, 2), stride=(2, 1), padding=[(1, 0), (0, 2)], dilation=(1, 2), groups=2)], SIZE, 1, False),
    "conv of signals": ([cl.Conv(3, 3, padding=1), cl.ReLU(), cl.ConvTranspose(2, 3, stride=2)], (9, 2), 1, False),
    "conv transposed": ([cl.ConvTranspose(4, (3, 2), stride=(2, 1), padding=1, groups=2)], SIZE, 1, False),
    "pools": ([cl.MaxPool(3, stride=2, padding=1), cl.AvgPool(2, stride=1, padding=1)], SIZE, 1, False),
    "global maximum": ([cl.GlobalMaxPool()], SIZE, 1, False),
    "global mean": ([cl.GlobalAvgPool()], SIZE, 2, False),
    "sizes": ([cl.Upsample(2), cl.Upsample(2, "bilinear"), cl.Resize((5, 9)), cl.Pad(1, value=0.5)], SIZE, 1, False),
    "shapes": ([cl.Permute((2, 0, 1)), cl.Reshape((5, 4, 4)), cl.Slice(1, 4, 2, axis=0)], SIZE, 2, False),
    "batch norm in training": ([cl.BatchNorm(), cl.GELU()], SIZE, 3, True),
    "batch norm at inference": ([cl.BatchNorm(scale=False), cl.GELU("tanh")], SIZE, 1, False),
    "norms": ([cl.LayerNorm(), cl.GroupNorm(2), cl.InstanceNorm()], SIZE, 2, False),
    "scales": (
        [cl.Normalize((1, 2, 3, 4), 2), cl.Scale(), cl.Scale(0.5), cl.PReLU(), cl.PReLU(shape=(1, 5, 1))],
        SIZE,
        1,
        False,
    ),
    "dropout": ([cl.Dropout(0.5), cl.SpatialDropout(0.5)], SIZE, 2, True),
    "activations": (
        [
            *(cl.LeakyReLU(), cl.ELU(), cl.SiLU(), cl.Sigmoid(), cl.Tanh(), cl.Softplus(), cl.Reciprocal()),
            *(cl.ReLU6(), cl.Clip(-1, 1), cl.HardSigmoid(), cl.HardSwish(), cl.Softmax()),
        ],
        SIZE,
        1,
        False,
    ),
    "ways": (
        [
            cl.Residual([cl.Conv(4, 3, padding=1)], shortcut=cl.Conv(4, 1)),
            cl.Residual([cl.ReLU()]),
            cl.Concat([[cl.ReLU()], [cl.Conv(3, 1)], []]),
            cl.Multiply([[], [cl.ReLU()], [cl.GlobalAvgPool(), cl.Reshape((1, 1, 11))]]),
        ],
        SIZE,
        2,
        False,
    ),
}


def made(name):
    """A net with scores for three classes, its input and its labels."""
    layers, shape, n, train = NETS[name]
    rng = np.random.default_rng(0)
    end = [cl.Affine(3)] if name.startswith("global") else [cl.Flatten(), cl.Affine(3)]
    net = cl.Sequential([*(layer.copy() for layer in layers), *end], input_shape=shape, rng=1)
    net.flat_params[:] = rng.normal(size=net.flat_params.size) * 0.5 + 0.1
    x = rng.normal(size=(n, *shape))
    net[-1].params["W"][...] /= np.abs(net.predict(x)).max()  # a softmax that is sure has no gradient
    return net, x, rng.integers(0, 3, n), train


def small(**options):
    layers = [cl.Conv(2, 3), cl.ReLU(), cl.Flatten(), cl.Affine(3)]
    return cl.Sequential(layers, input_shape=(5, 5, 1), rng=0, **options)


def data_of(path):
    """What the page holds, with its arrays."""
    text = path.read_text(encoding="utf-8")
    raw = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, flags=re.DOTALL)[1]

    def revive(found):
        if isinstance(found.get("data"), str):
            return np.frombuffer(base64.b64decode(found["data"]), found["type"])
        return found

    return json.loads(raw, object_hook=revive)


def written(name, folder):
    """The page of such a net, and what it holds."""
    net, x, y, train = made(name)
    path = cl.explain.write(folder / "page.html", net, x, y, train=train)
    (shown,) = data_of(path)["nets"]
    return path, shown


# The numbers


def test_every_layer_of_the_package_has_a_rule():
    leaves = {getattr(cl.layers, name) for name in cl.layers.__all__} - {cl.layers.Layer, cl.layers.Sequential}
    assert leaves - set(graph.JOINS) == set(kinds.TABLE)


def test_the_nets_of_these_tests_hold_every_layer():
    nets = [made(name)[0] for name in NETS]
    assert {type(layer) for net in nets for _, layer in net.walk()} >= set(kinds.TABLE) | set(graph.JOINS)


def test_the_page_holds_the_numbers_of_the_net(tmp_path):
    net, x, y, _ = made("ways")
    (shown,) = data_of(cl.explain.write(tmp_path / "page.html", net, x, y))["nets"]
    outputs = cl.insight.outputs(net, x)
    names = ["x", *(node["name"] for node in shown["nodes"])]
    for name, found in zip(names, shown["maps"], strict=True):
        expected = x if name == "x" else outputs[name]
        np.testing.assert_allclose(found["values"], expected.ravel(), rtol=2e-5, atol=2e-5)
    twin = net.astype("float64")
    loss = cl.SoftmaxLoss()
    assert shown["loss"]["value"] == loss.forward(twin.forward(x, train=False), y)
    dx = twin.backward(loss.backward())
    np.testing.assert_allclose(shown["maps"][0]["grads"], dx.ravel(), rtol=1e-9)
    assert np.abs(dx).max() > 1e-3
    for node in shown["nodes"]:
        for name, found in node["params"].items():
            np.testing.assert_allclose(found["grads"], twin.grads[f"{node['name']}.{name}"].ravel(), rtol=1e-9)
            np.testing.assert_array_equal(found["values"], twin.params[f"{node['name']}.{name}"].ravel())


@pytest.mark.parametrize("name", ["conv", "batch norm in training", "dropout", "norms"])
def test_its_finite_differences_are_the_gradients(tmp_path, name):
    _, shown = written(name, tmp_path)
    gradients = {"x": shown["maps"][0]["grads"]}
    gradients |= {f"{node['name']}.{k}": v["grads"] for node in shown["nodes"] for k, v in node["params"].items()}
    assert shown["checks"].keys() == gradients.keys()
    for array, checks in shown["checks"].items():
        assert len(checks) >= min(12, gradients[array].size)
        for place, difference in checks.items():
            assert difference == pytest.approx(gradients[array][int(place)], rel=1e-5, abs=1e-8)


def test_the_net_is_left_as_it_is(tmp_path):
    net, x, y, _ = made("batch norm in training")
    before = net.flat_params.copy(), net.flat_grads.copy(), net.flat_state.copy()
    cl.explain.write(tmp_path / "page.html", net, x, y, train=True)
    for array, old in zip((net.flat_params, net.flat_grads, net.flat_state), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_a_frozen_weight_has_its_gradient_and_is_said_to_be_frozen(tmp_path):
    net, x = small(), np.random.default_rng(0).normal(size=(5, 5, 1))
    (before,) = data_of(cl.explain.write(tmp_path / "page.html", net, x, 1))["nets"]
    net.freeze("0.W")
    (shown,) = data_of(cl.explain.write(tmp_path / "page.html", net, x, 1))["nets"]
    assert shown["nodes"][0]["params"]["W"]["frozen"]
    assert "frozen" not in shown["nodes"][0]["params"]["b"]
    gradients = before["nodes"][0]["params"]["W"]["grads"]
    assert gradients.any()
    np.testing.assert_array_equal(shown["nodes"][0]["params"]["W"]["grads"], gradients)
    assert net.frozen == {"0.W"}


def test_one_sample_and_no_label(tmp_path):
    net, x = small(), np.random.default_rng(0).normal(size=(5, 5, 1))
    (shown,) = data_of(cl.explain.write(tmp_path / "page.html", net, x, classes="abc"))["nets"]
    assert shown["loss"]["target"].argmax() == net.predict(x[np.newaxis]).argmax()
    assert shown["classes"] == ["a", "b", "c"]


def test_the_squared_error(tmp_path):
    net, x = small(), np.random.default_rng(0).normal(size=(2, 5, 5, 1))
    loss, target = cl.MSELoss(), np.arange(6.0).reshape(2, 3)
    (shown,) = data_of(cl.explain.write(tmp_path / "page.html", net, x, target, loss=loss))["nets"]
    z = net.astype("float64").predict(x)
    assert shown["loss"]["value"] == pytest.approx(((z - target) ** 2).mean())
    np.testing.assert_allclose(shown["maps"][-1]["grads"], ((z - target) / 3).ravel())


def test_what_it_cannot_show(tmp_path):
    net, x, page = small(), np.zeros((5, 5, 1)), tmp_path / "page.html"
    with pytest.raises(ValueError, match=r"explain\.write needs x of shape \(5, 5, 1\) or .*; got \(4, 4, 1\)"):
        cl.explain.write(page, net, np.zeros((4, 4, 1)))
    with pytest.raises(ValueError, match=r"explain\.write needs y, the target of MSELoss\(\); got None"):
        cl.explain.write(page, net, x, loss=cl.MSELoss())
    with pytest.raises(ValueError, match=r"explains SoftmaxLoss without weights on scores .*; got HingeLoss"):
        cl.explain.write(page, net, x, 1, loss=cl.HingeLoss())
    with pytest.raises(ValueError, match=r"is for small nets: this one has [\d,]+ multiply-adds"):
        cl.explain.write(page, cl.models.resnet20(rng=0), np.zeros((32, 32, 3)))
    wide = cl.Sequential([cl.Flatten(), cl.Affine(2)], input_shape=(1000, 1000, 1), rng=0)
    with pytest.raises(ValueError, match=r"is for small nets: this one has [\d,]+ numbers to show"):
        cl.explain.write(page, wide, np.zeros((1000, 1000, 1)))
    bad = x.copy()
    bad[1, 1] = np.nan
    with pytest.raises(ValueError, match="needs numbers that are finite; x, or what a layer makes of it, has NaN"):
        cl.explain.write(page, net, bad)
    sure = cl.Sequential([cl.Flatten(), cl.Affine(2), cl.Softmax()], input_shape=(5, 5, 1), rng=0)
    with pytest.raises(ValueError, match="SoftmaxLoss takes scores, and the net ends in Softmax: give the net without"):
        cl.explain.write(page, sure, x)
    with pytest.raises(RuntimeError, match="is not built yet"):
        cl.explain.write(page, cl.Sequential([cl.Affine(2)]), np.zeros(3))
    with pytest.raises(OSError, match=r"no such folder|No such file|is no folder"):
        cl.explain.write(tmp_path / "none" / "page.html", net, x)
    assert list(tmp_path.iterdir()) == []


class Named(cl.Conv):
    """A Conv by another name."""


class Block(cl.Sequential):
    """A container that is used as it is."""

    def __init__(self):
        super().__init__([Named(2, 3), cl.ReLU()])


def test_what_inherits_its_passes_is_explained(tmp_path):
    net = cl.Sequential([Block(), cl.Flatten(), cl.Affine(2)], input_shape=(4, 4, 1), rng=0)
    (shown,) = data_of(cl.explain.write(tmp_path / "page.html", net, np.ones((4, 4, 1)), 1))["nets"]
    found = [(node["name"], node["kindName"], node["described"]["kind"]) for node in shown["nodes"]]
    assert found[:2] == [("0.0", "Named", "conv"), ("0.1", "ReLU", "pointwise")]


class Doubled(cl.layers.Layer):
    """A layer of a user's own."""

    def forward(self, x, train=True):
        return 2 * x

    def backward(self, dy, input_grad=True):
        return 2 * dy


def own():
    return cl.Sequential([cl.Flatten(), Doubled(), cl.Affine(2)], input_shape=(2, 2, 1), rng=0)


def test_a_layer_of_a_users_own_is_shown_and_not_explained(tmp_path):
    (shown,) = data_of(cl.explain.write(tmp_path / "page.html", own(), np.ones((2, 2, 1)), 1))["nets"]
    assert [node["described"]["kind"] for node in shown["nodes"]] == ["fixed", "opaque", "affine"]
    np.testing.assert_array_equal(shown["maps"][2]["values"], [2, 2, 2, 2])


def test_the_tour(tmp_path):
    data = data_of(cl.explain.write_tour(tmp_path / "tour.html"))
    assert len(data["tour"]) == 8
    titles = " ".join(stop["title"] for stop in data["tour"])
    assert [f"Problem {k}" in titles for k in range(1, 7)] == [True] * 6
    signal = data["nets"][2]  # the numbers of Problem 6, as its text has them
    np.testing.assert_allclose(signal["maps"][0]["grads"], [0.5, -2, 4, -4])
    np.testing.assert_allclose(signal["nodes"][0]["params"]["W"]["grads"], np.convolve([1, 3, 2, 5], [-2, 1], "valid"))
    assert "<td>0.5</td><td>-2</td><td>4</td><td>-4</td>".replace("-", "\N{MINUS SIGN}") in data["tour"][6]["text"][2]
    for net in data["nets"]:  # no ReLU or maximum stands at a kink, so each check agrees
        gradients = {"x": net["maps"][0]["grads"]}
        gradients |= {f"{node['name']}.{k}": v["grads"] for node in net["nodes"] for k, v in node["params"].items()}
        for array, checks in net["checks"].items():
            for place, difference in checks.items():
                assert difference == pytest.approx(gradients[array][int(place)], rel=1e-5, abs=1e-8)


def test_names_cannot_break_the_page(tmp_path):
    net, x = small(), np.zeros((5, 5, 1))
    page = cl.explain.write(tmp_path / "page.html", net, x, 1, classes=["</script>", "<b>", "ü"], title="<i>")
    assert data_of(page)["nets"][0]["classes"] == ["</script>", "<b>", "ü"]
    assert "<title>&lt;i&gt;</title>" in page.read_text(encoding="utf-8")


# In a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt install chromium)")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page, and sees at the end that it has said and asked nothing."""
    heard, asked = [], []
    contexts = []

    def open_page(path, **options):
        contexts.append(browser.new_context(**options))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: heard.append(message.text))
        tab.on("pageerror", lambda error: heard.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(path.as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert heard == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == len(contexts)


def number(text):
    return float(text.replace("\N{MINUS SIGN}", "-"))


# Picks numbers as a reader does, and gives what the page then says: each sum, and Python's number beside it.
PICKED = """
(questions) => questions.map(([kind, m, i, name]) => {
  if (kind === "map") pick(m, i); else pickWeight(m, name, i);
  const totals = [...document.querySelectorAll(".total")].map((each) => [
    each.querySelector("b").textContent, each.querySelector("span").textContent.replace("Python: ", "")]);
  return { totals, sums: Object.values(sums()).filter(Array.isArray) };
})
"""


@in_a_browser
@pytest.mark.parametrize("name", NETS)
def test_each_sum_of_the_page_is_pythons_number(opened, tmp_path, name):
    path, shown = written(name, tmp_path)
    assert all(np.abs(each["grads"]).max() > 1e-9 for each in shown["maps"])
    rng = np.random.default_rng(0)

    def picks(kind, at, size, param=""):
        return [[kind, at, int(i), param] for i in rng.integers(size, size=50)]

    asked, expected = [], []
    for m, each in enumerate(shown["maps"]):
        asked += picks("map", m, each["values"].size)
        expected += [[each["values"][i], each["grads"][i]] for *_, i, _ in asked[-50:]]
    for k, node in enumerate(shown["nodes"]):
        for param, each in node["params"].items():
            asked += picks("weight", k, each["values"].size, param)
            expected += [[each["grads"][i]] for *_, i, _ in asked[-50:]]
    for question, found, values in zip(asked, opened(path).evaluate(PICKED, asked), expected, strict=True):
        assert len(found["totals"]) == len(found["sums"]) == len(values)
        for (text, beside), (own_sum, _), value in zip(found["totals"], found["sums"], values, strict=True):
            assert own_sum == pytest.approx(value, rel=1e-8, abs=1e-10), question
            assert number(text) == pytest.approx(value, rel=5.1e-6, abs=1e-10), question  # six digits
            assert number(beside) == pytest.approx(value, rel=5.1e-6, abs=1e-12), question


@in_a_browser
@pytest.mark.parametrize("name", NETS)
def test_the_page_computes_the_whole_net_anew(opened, tmp_path, name):
    path, shown = written(name, tmp_path)
    found = opened(path).evaluate(
        """() => {
          const net = current(), values = forward(net, net.input), { deltas, grads } = backward(net, values);
          const plain = (arrays) => arrays.map((each) => [...each]);
          const ofWeights = net.nodes.map((L) => Object.values(grads.get(L)).map((each) => [...each]));
          return { values: plain(values), deltas: plain(deltas), grads: ofWeights, loss: lossOf(net, values.at(-1)) };
        }"""
    )
    for each, values, deltas in zip(shown["maps"], found["values"], found["deltas"], strict=True):
        np.testing.assert_allclose(values, each["values"], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(deltas, each["grads"], rtol=1e-8, atol=1e-11)
    for node, grads in zip(shown["nodes"], found["grads"], strict=True):
        for each, own_grads in zip(node["params"].values(), grads, strict=True):
            np.testing.assert_allclose(own_grads, each["grads"], rtol=1e-8, atol=1e-11)
    assert found["loss"] == pytest.approx(shown["loss"]["value"], rel=1e-12)


@in_a_browser
def test_the_slider_changes_the_loss_as_python_says(opened, tmp_path):
    net, x, y, _ = made("ways")
    tab = opened(cl.explain.write(tmp_path / "page.html", net, x, y))
    tab.evaluate("document.getElementById('change').open = true")
    tab.evaluate("pickWeight(0, 'W', 5)")
    first = tab.evaluate("current().nodes[0].name") + ".W"
    tab.wait_for_selector("#slider")
    value = tab.evaluate(
        "() => { const s = document.getElementById('slider'); s.value = Number(s.value) + 0.3;"
        "s.dispatchEvent(new Event('input')); return Number(s.value); }"
    )
    changed, expected = number(tab.inner_text("[data-change]")), number(tab.inner_text("[data-expected]"))
    twin, loss = net.astype("float64"), cl.SoftmaxLoss()
    old = loss.forward(twin.forward(x, train=False), y)
    twin.backward(loss.backward())
    step = value - twin.params[first].reshape(-1)[5]
    assert expected == pytest.approx(twin.grads[first].reshape(-1)[5] * step, rel=1e-5)
    twin.params[first].reshape(-1)[5] = value
    assert changed == pytest.approx(loss.forward(twin.forward(x, train=False), y) - old, rel=1e-4)
    assert "with a number changed" in tab.inner_text("#answer")
    tab.click("#reset")
    assert "with a number changed" not in tab.inner_text("#answer")
    assert tab.evaluate("lossOf(current(), current().now.values.at(-1))") == pytest.approx(old, rel=1e-12)


@in_a_browser
def test_it_works_by_keyboard(opened, tmp_path):
    net, x = small(), np.random.default_rng(0).normal(size=(5, 5, 1))
    tab = opened(cl.explain.write(tmp_path / "page.html", net, x, 1))
    canvas = tab.locator("#here canvas")
    assert canvas.get_attribute("aria-label").startswith("0 Conv: values. Arrow keys walk through it")
    canvas.focus()
    for key in ("ArrowDown", "ArrowRight", "PageDown"):
        tab.keyboard.press(key)
    assert tab.inner_text("#status").startswith("0 Conv, y[1, 1, 1]: value ")
    tab.keyboard.press("Enter")
    assert tab.inner_text("#picked").startswith("0 Conv, y[1, 1, 1] = ")
    assert tab.evaluate("document.activeElement.closest('#here') !== null")  # and one can walk on
    tab.keyboard.press("ArrowLeft")
    assert tab.inner_text("#status").startswith("0 Conv, y[1, 0, 1]: value ")
    value = cl.insight.outputs(net, x[np.newaxis])["0"][0, 1, 1, 1]
    assert number(tab.inner_text("#picked").split(" = ")[1].split(",")[0]) == pytest.approx(value, rel=1e-5)
    tab.locator("#strip button").nth(2).focus()
    tab.keyboard.press("Enter")
    assert tab.inner_text("#picked").startswith("1 ReLU, ")
    assert tab.locator('#strip [aria-pressed="true"]').count() == 1


@in_a_browser
def test_a_click_picks_what_is_under_it(opened, tmp_path):
    net, x = small(), np.random.default_rng(0).normal(size=(5, 5, 1))
    tab = opened(cl.explain.write(tmp_path / "page.html", net, x, 1))

    def click(part, nth, i):
        middle = """([part, nth, i]) => {
          const canvas = document.querySelectorAll(`#${part} canvas`)[nth];
          const sheet = sheets.find((each) => each.canvas === canvas);
          let found;
          sheet.each((at, x, y) => { if (at === i) found = { x: x + sheet.cell / 2, y: y + sheet.cell / 2 }; });
          return found;
        }"""
        tab.locator(f"#{part} canvas").nth(nth).click(position=tab.evaluate(middle, [part, nth, i]))

    click("here", 0, 15)
    assert tab.inner_text("#picked").startswith("0 Conv, y[2, 1, 1] = ")
    click("before", 1, 3)  # of this channel's filter
    assert tab.inner_text("#picked").startswith("0 Conv, weight W[1, 0, 0, 1] = ")
    tab.locator("#backward .link").first.click()
    assert tab.inner_text("#picked").startswith("0 Conv, y[0, 0, 1] = ")


@in_a_browser
def test_the_tour_opens_what_it_speaks_of(opened, tmp_path):
    tab = opened(cl.explain.write_tour(tmp_path / "tour.html"))
    seen = []
    for _ in range(8):
        seen.append((tab.inner_text("#tour-title"), tab.inner_text("#picked")))
        for shown_total in tab.locator(".total").all_inner_texts():
            ours, pythons = re.fullmatch(r"together (\S+)\s+Python: (\S+)", shown_total).groups()
            assert number(ours) == pytest.approx(number(pythons), rel=1.1e-5)
        if tab.locator("#next").get_attribute("aria-disabled") != "true":
            tab.click("#next")
    assert [title.split(" of ")[0] for title, _ in seen] == list("12345678")
    assert len({picked for _, picked in seen}) == 8
    assert tab.locator("#next").get_attribute("aria-disabled") == "true"


@in_a_browser
def test_the_matrix_and_its_transpose(opened, tmp_path):
    tab = opened(cl.explain.write_tour(tmp_path / "tour.html"))
    tab.evaluate("goTo(5)")  # Problem 5: the filter (0.5, -1, 2) on (1, 3, 2, 5) in its zeros
    rows = tab.evaluate(
        "() => [...document.querySelectorAll('#matrix table')].map((table) => [...table.rows].slice(1).map("
        "(row) => [...row.cells].filter((c) => !c.classList.contains('arrow')).map((c) => c.textContent)))"
    )
    M = reference.convolution_matrix([0.5, -1, 2], length=4, padding=1)
    x, delta = np.array([0, 1, 3, 2, 5, 0]), np.array([1, -2, 3, 0.5])
    for found, matrix, vector in zip(rows, (M, M.T), (x, delta), strict=True):
        numbers = np.array([[number(text) for text in row] for row in found])
        np.testing.assert_allclose(numbers[:, :-1], matrix)
        np.testing.assert_allclose(numbers[:, -1], matrix @ vector, rtol=1e-5)


@in_a_browser
def test_winograds_tile_gives_the_maps_numbers(opened, tmp_path):
    layers = [cl.Conv(2, 3, padding=1), cl.Flatten(), cl.Affine(2)]
    net = cl.Sequential(layers, input_shape=(5, 6, 2), rng=0)
    tab = opened(cl.explain.write(tmp_path / "page.html", net, np.random.default_rng(0).normal(size=(5, 6, 2)), 1))
    tab.evaluate("document.getElementById('winograd').open = true")
    tab.evaluate("pick(1, 58)")  # the last output, whose tile hangs over the edge
    tab.wait_for_selector("#winograd figure")
    figures = tab.evaluate(
        "() => [...document.querySelectorAll('#winograd figure')].slice(-2).map((figure) => "
        "[...figure.querySelectorAll('td')].map((cell) => cell.textContent))"
    )
    pairs = [(ours, given) for ours, given in zip(*figures, strict=True) if given != "outside"]
    assert len(pairs) == 2
    for ours, given in pairs:
        assert number(ours) == pytest.approx(number(given), rel=1e-5)


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_it_fits_the_screen(opened, tmp_path, size, scheme):
    viewport = {"width": size[0], "height": size[1]}
    tab = opened(cl.explain.write_tour(tmp_path / "tour.html"), viewport=viewport, color_scheme=scheme)
    for step in range(8):
        tab.evaluate(f"goTo({step})")
        assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) < 200) == (scheme == "dark")


@in_a_browser
def test_a_net_with_a_layer_of_a_users_own(opened, tmp_path):
    tab = opened(cl.explain.write(tmp_path / "page.html", own(), np.ones((2, 2, 1)), 1))
    tab.evaluate("pick(2, 1)")
    assert "a layer that this page has no rule for" in tab.inner_text("#forward")
    assert "together" not in tab.inner_text("#forward")  # it has no sum of its own
    assert "Python: 2" in tab.inner_text("#forward")
    tab.evaluate("document.getElementById('change').open = true")
    tab.evaluate("pick(0, 1)")
    assert "cannot be computed anew here" in tab.inner_text("#change")
