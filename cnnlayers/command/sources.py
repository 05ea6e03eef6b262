"""DATA of the command: what it is, and its reader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.datasets import SOURCES, digits
from ..data.folder import SOURCE as IMAGES
from ..data.layout import folders_in, images_in
from ..data.parts import Dataset
from ..data.source import Source, either, named_after
from ..errors import DataError


def data_help() -> str:
    """List what DATA may be: the digits, folders of images, folders of certain files, and files."""
    owners: dict[str, dict[str, None]] = {}  # each kind is listed once, with all owners in it
    for source in _in_order():
        owners.setdefault(source.help, {})[source.owner] = None
    return either(["digits", *(text.format(either(names)) for text, names in owners.items())], ", ")


def downloads() -> str:
    """List the names of the folders that data can be fetched into."""
    return either(source.download for source in SOURCES if source.download)


def open_data(
    name: str,
    *,
    size: Sequence[int] = (32, 32),
    channels: int = 3,
    background: int | Sequence[int] = 255,
    val: int | float = 0.1,
    test: int | float = 0.1,
    seed: int = 0,
    signals: bool | None = None,
    skip_damaged: bool = False,
    truncated: bool = False,
    cache: str | None = None,
    split: str | None = None,
    download: bool = False,
) -> Dataset:
    """Read `digits`, a folder of images, of MNIST's or of CIFAR's files, or an npz file.

    `size`, `channels`, `background`, `skip_damaged`, `truncated` and `cache` are for folders of images. `val`, `test`
    say how much is drawn for these parts where the data has none of its own (`test`: of folders of images). `signals`
    is for npz files, `split` is for EMNIST's.
    `download` fetches what is missing of a data set that the folder is named after.
    """
    path = Path(name)
    if download:
        return check_download(name).read(path, download=True, val=val, rng=seed)
    if name == "digits":
        return digits()
    if not path.exists():
        hint = "--download fetches it" if _known(path) else f"DATA is digits, a folder, or {_files()} file"
        raise FileNotFoundError(f"there is no data at {name}; {hint}")
    source = _source(path)
    if source is None and path.is_file():
        raise DataError(f"{name}: expected {_files()} file or a folder; found another file")
    if source is None:
        signs = either(source.sign for source in _in_order() if source.sign)
        raise DataError(f"{name}: expected {signs}; found none of them")
    options = {"size": tuple(size), "channels": channels, "background": background, "val": val, "test": test}
    options |= {"rng": seed, "signals": signals, "skip_damaged": skip_damaged, "truncated": truncated, "cache": cache}
    options["split"] = split
    try:
        return source.open(path, **options)
    except FileNotFoundError as error:
        if not source.download:
            raise
        raise FileNotFoundError(as_options(str(error))) from None
    except DataError as error:
        raise DataError(as_options(str(error))) from error


def check_apart(name: str, out: Path) -> None:
    """Raise ValueError if a file that a run will write lies in a folder of images, where it would be a class."""
    root, place = Path(name).resolve(), out.resolve()
    if root not in place.parents or _source(root) is not IMAGES:
        return
    inner = place.relative_to(root).parts[0]
    if inner in folders_in(root) and not images_in(root / inner):
        raise ValueError(
            f"{out} would lie in the folder of the images, where {inner} is taken for a class: "
            "name a folder elsewhere with --out"
        )


def as_options(text: str) -> str:
    """Give what an error of a reader says, with its arguments as options of the command."""
    for name in ("download", "skip_damaged", "truncated"):
        text = text.replace(f"{name}=True", "--" + name.replace("_", "-"))
    return text.replace("split=NAME", "--split NAME")


def check_download(name: str) -> Source:
    """Give the source that a folder is named after; it is a ValueError if it is not one that can be fetched."""
    source = _known(Path(name))
    if source is None:
        raise ValueError(f"--download needs DATA to be a folder named {downloads()}; got {name!r}")
    return source


def _source(path: Path) -> Source | None:
    """The source that recognises what is there, if one does."""
    return next((source for source in SOURCES if source.recognises(path)), None)


def _known(folder: Path) -> Source | None:
    """The source that a folder is named after, if there is one that can be fetched."""
    fetched = {source.download: source for source in SOURCES if source.download}
    name = named_after(folder, fetched)
    return None if name is None else fetched[name]


def _in_order() -> list[Source]:
    """The sources as they are listed: folders first, of them those of any images, not of certain files."""
    return sorted(SOURCES, key=lambda source: (source.is_file, bool(source.owner)))


def _files() -> str:
    return either(source.help for source in SOURCES if source.is_file)


def held_out(data: Dataset) -> tuple[str, Any]:
    """Give the name of the part to judge a net by, and the part: test, or else val, or else train."""
    return next((name, getattr(data, name)) for name in ("test", "val", "train") if getattr(data, name) is not None)


def part_of(data: Dataset, name: str, source: str) -> Any:
    """Give one part; it is an error if the data has none."""
    part = getattr(data, name)
    if part is None:
        there = [other for other in ("train", "val", "test") if getattr(data, other) is not None]
        raise ValueError(f"{source} has no {name} part; it has {', '.join(there)}")
    return part
