"""`cnnlayers export`."""

import json
import shutil

import numpy as np
import onnx
import pytest

import cnnlayers as cl
from cnnlayers.command.main import main
from tests.command.common import failure, image_folder, refused, run
from tests.files import onnx_files


@pytest.fixture(scope="module")
def photo_run(tmp_path_factory):
    """A run on two kinds of images."""
    root = tmp_path_factory.mktemp("export")
    arguments = ["train", image_folder(root / "photos"), "--model", "linear", "--size", 8, "--no-report", "--test", 6]
    assert main([*map(str, arguments), "--out", str(root / "run")]) == 0
    return root / "run"


def test_a_run(photo_run, tmp_path, capsys):
    file = tmp_path / "net.onnx"
    assert run(capsys, "export", photo_run, file) == (0, f"export: {file}\n", "")
    about = {p.key: json.loads(p.value) for p in onnx.load(file).metadata_props}
    assert (about["classes"], about["input_shape"], about["layout"]) == (["bright", "dark"], [8, 8, 3], "NHWC")
    onnx_files.agree(cl.load(photo_run / "net.safetensors"), file)


def test_its_options(photo_run, tmp_path, capsys):
    file = tmp_path / "net.onnx"
    run(capsys, "export", photo_run / "best.safetensors", file, "--layout", "NCHW", "--opset", 13)
    assert onnx.load(file).opset_import[0].version == 13
    x = np.zeros((1, 8, 8, 3), np.float32)
    net = cl.load(photo_run / "best.safetensors")
    np.testing.assert_allclose(onnx_files.run(file, x, "NCHW"), net.predict(x), rtol=1e-5)


def test_what_it_refuses(photo_run, tmp_path, capsys):
    net = photo_run / "net.safetensors"
    before = net.read_bytes()
    assert "export writes a file NAME.onnx" in refused(capsys, "export", photo_run, net)
    assert net.read_bytes() == before
    assert "--layout" in refused(capsys, "export", photo_run, tmp_path / "net.onnx", "--layout", "CHW")
    assert "opset must be 13 to" in failure(capsys, "export", photo_run, tmp_path / "net.onnx", "--opset", 9)
    assert "no net in" in failure(capsys, "export", tmp_path, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_an_onnx_file_is_a_net_for_the_other_commands(photo_run, tmp_path, capsys):
    folder = shutil.copytree(photo_run, tmp_path / "run")  # beside what the run knows of its data
    run(capsys, "export", photo_run, folder / "net.onnx")
    image = next((photo_run.parent / "photos" / "dark").iterdir())
    for command, *more in (("evaluate",), ("predict", image), ("summary",)):
        ours, theirs = (run(capsys, command, folder / f"net.{kind}", *more) for kind in ("safetensors", "onnx"))
        assert (ours[0], theirs[0]) == (0, 0)
        last_lines = [[line.split() for line in printed.splitlines()[-2:]] for _, printed, _ in (ours, theirs)]
        assert last_lines[0] == last_lines[1]
