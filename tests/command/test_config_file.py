"""Options in TOML files."""

import argparse
import tomllib

import pytest

from cnnlayers.command import config_file, options


@pytest.fixture
def train_options():
    return options.add_train_options(argparse.ArgumentParser())


def test_what_is_written_is_read_again(train_options, tmp_path):
    values = {
        "data": 'a "folder" \\ of\tphotos é\x7f',
        "size": (24, 48),
        "val": 0.25,
        "test": 30,
        "lr": 1e-5,
        "momentum": 0.0,
        "report": False,
        "model": "linear",
        "threads": 2,
    }
    config_file.write(tmp_path / "config.toml", values | {"warmup": None})
    read = config_file.read(tmp_path / "config.toml", train_options)
    assert read == values
    assert isinstance(read["test"], int)
    assert isinstance(read["val"], float)
    assert "warmup" not in tomllib.loads((tmp_path / "config.toml").read_text())


def test_switches(train_options, tmp_path):
    (tmp_path / "c.toml").write_text("overwrite = true\nreport = false\n")
    assert config_file.read(tmp_path / "c.toml", train_options) == {"overwrite": True, "report": False}


def test_ends_of_lines_of_windows(train_options, tmp_path):
    (tmp_path / "c.toml").write_bytes(b'data = "C:\\\\photos"\r\n\r\n# a remark\r\nlr = 0.5\r\n')
    assert config_file.read(tmp_path / "c.toml", train_options) == {"data": "C:\\photos", "lr": 0.5}


def test_names_with_dashes_or_underscores(train_options, tmp_path):
    (tmp_path / "c.toml").write_text('batch-size = 32\nlabel_smoothing = 0\nsize = "16x20"\n')
    assert config_file.read(tmp_path / "c.toml", train_options) == {
        "batch_size": 32,
        "label_smoothing": 0.0,
        "size": (16, 20),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "c.toml: not TOML: "),
        ("epochs = \xff", "c.toml: not TOML: "),
        ("epoch = 3", "there is no option 'epoch'; there are data, download, size"),
        ("config = 'a'", "there is no option 'config'"),
        ("epochs = 0", "epochs: a whole number of at least 1 is needed; got '0'"),
        ("epochs = 2.5", "epochs: a whole number of at least 1 is needed"),
        ("epochs = true", "epochs: a number or text is needed; got True"),
        ("epochs = {a = 1}", "epochs: a number or text is needed"),
        ("lr = nan", "lr: a number of at least 0 is needed"),
        ("model = 'alexnet'", "model: one of resnet, cnn, linear, "),
        ("channels = 2", "channels: one of 3, 1 is needed; got 2"),
        ("report = 1", "report: true or false is needed; got 1"),
        ("overwrite = 'false'", "overwrite: true or false is needed; got 'false'"),
        ("size = [1, 2, 3]", "size: a size such as 32 or 32x48"),
        ("clip-norm = 0", "clip-norm: a number above 0 is needed"),
        ("ema = 1", "ema: a number below 1 is needed"),
        ("[train]\nepochs = 1", "there is no option 'train'"),
    ],
)
def test_mistakes_name_the_file_and_the_option(text, message, train_options, tmp_path):
    (tmp_path / "c.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"c\.toml: ") as raised:
        config_file.read(tmp_path / "c.toml", train_options)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"", "utf-8")],
)
def test_a_byte_order_mark_is_no_part_of_the_first_name(mark, encoding, train_options, tmp_path):
    (tmp_path / "c.toml").write_bytes(mark + "epochs = 3\r\nlr = 0.5\r\n".encode(encoding))
    assert config_file.read(tmp_path / "c.toml", train_options) == {"epochs": 3, "lr": 0.5}


def test_a_missing_file(train_options, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        config_file.read(tmp_path / "none.toml", train_options)
