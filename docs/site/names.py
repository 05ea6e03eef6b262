"""What is public: every name that has a page, by the room it is found in."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cnnlayers as cl
from cnnlayers import reference


@dataclass(frozen=True)
class Name:
    """A public name: `cl.plot.curves` has the path "plot.curves" and the group "plot"."""

    path: str
    group: str
    value: Any

    @property
    def full(self) -> str:
        """Where it is imported from."""
        return f"cnnlayers.{self.path}"

    @property
    def page(self) -> str:
        """The name of its page: a class and a function that differ in a capital alone need two, on any disk."""
        twin = getattr(sys.modules[self.value.__module__], self.short.lower(), None)
        return f"{self.path}-class" if isinstance(self.value, type) and inspect.isfunction(twin) else self.path

    @property
    def short(self) -> str:
        """Its own name."""
        return self.path.rpartition(".")[2]

    @property
    def says(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.value) or "").partition("\n")[0]


# Group: its title. The names of the first five are names of `cl` itself; "base" is for what is left of those.
GROUPS = {
    "layers": "Layers",
    "losses": "Losses",
    "optimizers": "Optimisers",
    "schedules": "Schedules of the learning rate",
    "callbacks": "Callbacks",
    "base": "Training, files and settings",
    "metrics": "Metrics",
    "models": "Models",
    "initializers": "First values of parameters",
    "datasets": "Data sets",
    "augment": "Augmentation and views",
    "insight": "Insight: numbers",
    "plot": "Plot: pictures",
    "report": "Report: one page",
    "explain": "Explain: every number of a net",
    "distributed": "Several processes",
    "sklearn": "For scikit-learn",
}
OPEN = ("layers", "losses", "optimizers", "schedules", "callbacks")
APART = {"sklearn": "cnnlayers.sklearn"}  # not in `cl`, since scikit-learn is imported with them

# Classes that docstrings send a reader to, and that no `__all__` has since nobody makes one.
MEANT = {"optimizers": ["Optimizer"], "schedules": ["Schedule", "Ending"]}


def names_of(module: Any) -> list[str]:
    """Give what a module says is public: its `__all__`, or the functions and classes that it defines."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return sorted(listed)
    own = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    return sorted(name for name in own if not name.startswith("_"))


def public() -> list[Name]:
    """Give every public name, group by group."""
    return [name for group in GROUPS for name in _group(group)]


def _group(group: str) -> Iterator[Name]:
    if group == "base":
        elsewhere = {name for room in OPEN for name in getattr(cl, room).__all__}
        for name in sorted(set(cl.__all__) - elsewhere, key=str.lower):
            value = getattr(cl, name)
            if not inspect.ismodule(value) and name != "__version__":
                yield Name(name, group, value)
        return
    module = importlib.import_module(APART[group]) if group in APART else getattr(cl, group)
    for name in names_of(module):
        if callable(value := getattr(module, name)):  # constants are told of where they are used
            yield Name(name if group in OPEN else f"{group}.{name}", group, value)
    for name in MEANT.get(group, []):
        yield Name(f"{group}.{name}", group, getattr(module, name))


def modules_of_twins() -> list[str]:
    """Give the modules of `cnnlayers.reference`, each of which has a page."""
    return sorted(module.name for module in pkgutil.iter_modules(reference.__path__))
