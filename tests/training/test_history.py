"""The numbers of a training run."""

import csv

import numpy as np
import pytest

import cnnlayers as cl
from tests.html import parsed, tables_of, words_of, words_of_text


def two_epochs():
    history = cl.History()
    history.append(train_loss=1.5, val_accuracy=0.25, lr=0.1, seconds=0.5)
    history.append(train_loss=0.5, val_accuracy=0.75, lr=0.05, seconds=12.34)
    return history


def test_lists_by_name():
    history = two_epochs()
    assert history["train_loss"] == [1.5, 0.5]
    assert history["lr"] == [0.1, 0.05]
    assert len(history) == 2
    assert "val_accuracy" in history
    assert "val_loss" not in history
    assert history.row() == {"train_loss": 0.5, "val_accuracy": 0.75, "lr": 0.05, "seconds": 12.34}
    assert history.row(0)["train_loss"] == 1.5
    assert history.stopped is None


def test_an_unknown_name_is_told_which_there_are():
    with pytest.raises(KeyError, match="no history of 'loss'; there is 'train_loss', 'val_accuracy', 'lr', 'seconds'"):
        two_epochs()["loss"]
    with pytest.raises(KeyError, match="no history of 'loss'; there is none yet"):
        cl.History()["loss"]


def test_a_new_history_is_empty():
    history = cl.History()
    assert len(history) == 0
    assert history.epochs == {}
    assert history.steps == {"loss": []}
    assert str(history) == "epoch"


def test_the_table():
    assert str(two_epochs()).splitlines() == [
        "epoch  train loss  val accuracy    lr  seconds",
        "    1         1.5         25.0%   0.1      0.5",
        "    2         0.5         75.0%  0.05     12.3",
    ]
    history = two_epochs()
    history.stopped = "interrupted in epoch 3, after step 9"
    assert str(history).splitlines()[-1] == "stopped: interrupted in epoch 3, after step 9"
    assert repr(history) == "<History of 2 epochs: train_loss, val_accuracy, lr, seconds>"


def test_a_notebook_shows_curves_and_the_table():
    history = two_epochs()
    history.append(train_loss=np.nan, val_accuracy=1.0, lr=0.0, seconds=1.0)
    history.stopped = "interrupted in epoch 4, after step 9"
    html = history._repr_html_()
    assert words_of(html) == words_of_text(str(history))
    captions = ["".join(caption.itertext()) for caption in parsed(html).iter("figcaption")]
    assert captions == ["loss● train nan", "accuracy● val 100.0%"]
    assert [text.text for text in parsed(html).iter("text")] == ["1.5", "0.5", "100.0%", "25.0%"]


def test_a_notebook_shows_both_parts_in_one_curve():
    history = cl.History()
    history.append(train_loss=2.0, val_loss=3.0, train_top_5=0.5, val_top_5=0.25)
    captions = ["".join(caption.itertext()) for caption in parsed(history._repr_html_()).iter("figcaption")]
    assert captions == ["loss● train 2● val 3", "top 5● train 0.5● val 0.25"]


def test_a_notebook_shows_an_empty_history():
    assert tables_of(cl.History()._repr_html_()) == [[["epoch"]]]
    assert not list(parsed(cl.History()._repr_html_()).iter("svg"))


def test_names_are_escaped_in_a_notebook():
    history = cl.History()
    history.append(**{"train_<i>": 1.0})
    html = history._repr_html_()
    assert tables_of(html) == [[["epoch", "train <i>"], ["1", "1"]]]
    assert not list(parsed(html).iter("i"))


def test_the_csv_file(tmp_path):
    two_epochs().save(tmp_path / "run.csv")
    with open(tmp_path / "run.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["epoch", "train_loss", "val_accuracy", "lr", "seconds"]
    assert [[float(cell) for cell in row] for row in rows[1:]] == [
        [1, 1.5, 0.25, 0.1, 0.5],
        [2, 0.5, 0.75, 0.05, 12.34],
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["run.csv"]
    two_epochs().save(str(tmp_path / "run.csv"))  # over the old one


def test_numbers_in_the_csv_file_are_exact(tmp_path):
    values = np.random.default_rng(0).standard_normal(20).tolist()
    history = cl.History()
    for value in values:
        history.append(train_loss=value)
    history.save(tmp_path / "run.csv")
    lines = (tmp_path / "run.csv").read_text().splitlines()[1:]
    assert [float(line.split(",")[1]) for line in lines] == values


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        two_epochs().save(tmp_path / "none" / "run.csv")


def test_it_is_walked_by_name():
    history = cl.History()
    history.append(train_loss=1.0, lr=0.1)
    assert list(history) == list(history.keys()) == ["train_loss", "lr"]
    assert dict(history) == {"train_loss": [1.0], "lr": [0.1]}


def test_load_reads_what_save_wrote(tmp_path):
    two_epochs().save(tmp_path / "history.csv")
    history = cl.History.load(tmp_path / "history.csv")
    assert history.epochs == two_epochs().epochs
    assert history.steps == {"loss": []}
    cl.History().save(tmp_path / "empty.csv")
    assert len(cl.History.load(tmp_path / "empty.csv")) == 0


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "epoch,loss\n1\n", "epoch,loss\n1,low\n", "\n", "epoch,lr\n1,2,3\n"]
)
def test_load_refuses_what_is_no_history(text, tmp_path):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(cl.DataError, match=r"bad\.csv: not a history that History\.save wrote"):
        cl.History.load(tmp_path / "bad.csv")
    with pytest.raises(FileNotFoundError):
        cl.History.load(tmp_path / "none.csv")


def test_a_table_that_a_spreadsheet_has_saved(tmp_path):
    """With a byte-order mark and the ends of lines of Windows."""
    two_epochs().save(tmp_path / "run.csv")
    text = (tmp_path / "run.csv").read_text(encoding="utf-8")
    (tmp_path / "run.csv").write_text(text, encoding="utf-8-sig", newline="\r\n")
    assert cl.History.load(tmp_path / "run.csv").epochs == two_epochs().epochs
