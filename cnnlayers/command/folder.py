"""The folder of a run: which file is what."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from ..look.report.run import NAME as REPORT
from ..training.resume import BEST, LAST
from ..writing import check_writable

NET, CONFIG, HISTORY = "net.safetensors", "config.toml", "history.csv"
CHECKPOINTS = (BEST, LAST)
REPLACED = "replaced"  # folder for a run, within its own, while another takes its place


@dataclasses.dataclass(frozen=True)
class Output:
    """Where a run writes: a folder, or the net and its history alone.

    Attributes
    ----------
    net, history : Path
    folder : Path or None
        For the checkpoints, the options and the report.
    made : tuple of Path
        The folders that were made for it, the innermost first.
    """

    net: Path
    history: Path
    folder: Path | None
    made: tuple[Path, ...] = ()

    @property
    def config(self) -> Path | None:
        """The file of options."""
        return None if self.folder is None else self.folder / CONFIG

    def check_writable(self, report: bool) -> None:
        """Raise the OSError that writing would, of each file that the run will write: before the data are read."""
        if self.folder is None:
            files = [self.net, self.history]
        else:
            names = (NET, HISTORY, CONFIG, *CHECKPOINTS, *((REPORT,) if report else ()))
            files = [self.folder / name for name in names]
        for file in files:
            check_writable(file)

    def leave_if_empty(self) -> None:
        """Remove the folders that were made for it again, as far as nothing has come into them."""
        with contextlib.suppress(OSError):  # one that is not empty stays, with all around it
            for folder in self.made:
                folder.rmdir()

    @contextlib.contextmanager
    def replacing(self, begun: Callable[[], bool]) -> Iterator[None]:
        """Put the run that is there aside while a new one is trained; at the end delete it, or put it back.

        It is kept in the folder `replaced` within that of the run. It is deleted if `begun()` and the new run has left
        a checkpoint; otherwise the files of the new run are. A process that is killed leaves it there.
        """
        if self.folder is None:
            yield
            return
        aside = _put_aside(self.folder)
        try:
            yield
        except BaseException as error:
            if not self._settle(aside, begun()):
                error.add_note(f"the run that was in {self.folder} is there as it was")
            raise
        self._settle(aside, begun())

    def _settle(self, aside: Path | None, begun: bool) -> bool:
        """Delete the run that was put aside, or put it back: whether the new one stays."""
        if aside is None or self.folder is None:
            return True
        if begun and (self.folder / LAST).exists():
            _delete_run(aside)
            return True
        _put_back(aside, self.folder)
        return False


def _put_aside(folder: Path) -> Path | None:
    """Move the files of a run into a new folder within; None if there are none."""
    files = _run_files(folder)
    if not files:
        return None
    aside = next(path for path in numbered(folder / REPLACED) if _made(path))
    try:
        for file in files:
            file.rename(aside / file.name)
    except BaseException:
        _move_all(aside, folder)
        raise
    return aside


def _put_back(aside: Path, folder: Path) -> None:
    """Move the files of a run to where they were; those that are there now are of another run, and go."""
    for file in _run_files(folder):
        file.unlink()
    _move_all(aside, folder)


def _move_all(source: Path, target: Path) -> None:
    """Move what is in a folder into another one, and remove the folder."""
    for file in source.iterdir():
        file.rename(target / file.name)
    source.rmdir()


def _delete_run(folder: Path) -> None:
    """Delete the files of a run and their folder; what Windows keeps because it is open stays, and the folder then."""
    kept = False
    for file in folder.iterdir():
        try:
            file.unlink()
        except PermissionError:
            kept = True
    if not kept:
        folder.rmdir()


def _run_files(folder: Path) -> list[Path]:
    """The files of a run that exist; other files in its folder are not among them."""
    named = (folder / name for name in (*CHECKPOINTS, NET, CONFIG, HISTORY, REPORT))
    return [*(file for file in named if file.is_file()), *folder.glob("step-*.safetensors")]


def numbered(path: Path) -> Iterator[Path]:
    """Give NAME, NAME-2, NAME-3, ..."""
    return (path if i == 1 else path.with_name(f"{path.name}-{i}") for i in itertools.count(1))


def new_output(out: str | None, data: str, overwrite: bool) -> Output:
    """Interpret --out of a new run, and make its folder; by default runs/ and the data's name, or the next free one.

    Raises
    ------
    ValueError
        As `output`; and if there is a run already, unless it may be overwritten.
    """
    if out is None:
        return _claimed(Path(data).resolve().stem or "data", overwrite)
    path = Path(out)
    taken = path.is_file() or is_run(path.parent) if path.suffix == ".safetensors" else is_run(path)
    if taken and not overwrite:
        raise ValueError(
            f"there is a run in {out}: go on with `cnnlayers resume {out}`, name another folder, or add --overwrite"
            if is_run(path)
            else f"--out {out} would overwrite what is there: name another file, or add --overwrite"
        )
    return output(out)


def _claimed(name: str, overwrite: bool) -> Output:
    """Make the first folder of runs/NAME, runs/NAME-2, ... that is not there: of two runs at once each gets its own."""
    around = _make(Path("runs"))
    path = next(path for path in numbered(Path("runs", name)) if (overwrite and path.is_dir()) or _made(path))
    return dataclasses.replace(output(str(path)), made=(path, *around))


def _made(path: Path) -> bool:
    """Make a folder: whether it was not there."""
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True


def _make(path: Path) -> tuple[Path, ...]:
    """Make a folder and those around it that are missing, all or none: those that were made, the innermost first."""
    missing = tuple(itertools.takewhile(lambda folder: not folder.exists(), (path, *path.parents)))
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            if _made(folder):
                made.insert(0, folder)
        path.mkdir(exist_ok=True)  # it complains of what is there, but no folder
    except OSError:
        for folder in made:
            folder.rmdir()
        raise
    return tuple(made)


def output(out: str) -> Output:
    """Interpret where a run is to be written, and make its folder.

    Raises
    ------
    ValueError
        If it is a folder of other things, or a file that is not .safetensors: before the training, not after it.
    """
    path = Path(out)
    if path.suffix == ".safetensors":
        if path.is_dir():
            raise ValueError(f"--out needs a file for the net; {out!r} is a folder")
        return Output(path, path.with_suffix(".csv"), None, _make(path.parent))
    if path.exists() and not path.is_dir():
        raise ValueError(f"--out needs a folder, or a file FILE.safetensors for the net alone; {out!r} is a file")
    if path.is_dir() and any(path.iterdir()) and not is_run(path):
        raise ValueError(f"--out needs a folder of its own; there are other things in {str(path)!r}")
    return Output(path / NET, path / HISTORY, path, _make(path))


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run."""
    return any((path / name).exists() for name in (NET, CONFIG, *CHECKPOINTS))


def net_file(name: str) -> Path:
    """Give the file of a net: itself, or of a run's folder the net it ended with, or else its best or last one."""
    path = Path(name)
    if not path.is_dir():
        return path
    found = next((path / file for file in (NET, *CHECKPOINTS) if (path / file).exists()), None)
    if found is None:
        raise FileNotFoundError(f"there is no net in {name}: no {', '.join((NET, *CHECKPOINTS))}")
    return found
