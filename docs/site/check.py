"""What a docstring must say; `problems` gives what one lacks.

- Each public name has a docstring, whose first line is a sentence or an equation that ends with a full stop.
- A layer or a loss has Forward, Backward, Shapes and Twin, and Errors if it raises one where it is made, built or run.
- Equations can be typeset, and a twin exists.
- A section Parameters lists all of them. An array among them has its shape there.
- A function with a `raise` in it says when, under Raises.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import cnnlayers as cl

from . import docstrings, equations
from .names import Name

PASSES = ("__init__", "allocate", "forward", "output_shape")
DEPTH = 3  # how far calls are followed to a `raise`


def problems(name: Name) -> list[str]:
    """Give what the docstring of a name lacks, a line each."""
    text = inspect.getdoc(name.value) or ""
    if not text or (isinstance(name.value, type) and "__doc__" not in vars(name.value)):
        return [f"{name.path}: has no docstring"]
    parts = docstrings.sections(text)
    found = []
    if not re.match(r".*[.;:]$", text.split("\n\n")[0].replace("\n", " ")):
        found.append(f"the first paragraph must end with a full stop: {name.says!r}")
    if isinstance(name.value, type) and issubclass(name.value, cl.Layer | cl.Loss):
        if name.value not in (cl.Layer, cl.Loss):
            found += _of_layer(name.value, parts)
    elif inspect.isfunction(name.value) and raises(name.value, depth=0) and "Raises" not in parts:
        found.append("it raises: say when, under Raises")
    found += [*_equations(parts), *_parameters(name.value, parts)]
    return [f"{name.path}: {line}" for line in found]


def _of_layer(kind: type, parts: dict[str, str]) -> Iterator[str]:
    for block in ("Forward", "Backward", "Shapes", "Twin"):
        if not parts.get(block):
            yield f"{block} is missing"
    if issubclass(kind, cl.Layer) and not parts.get("Errors") and (where := _raising(kind)):
        yield f"{where} raises: say when, under Errors"
    for twin in re.findall(r"reference\.(\w+)\.(\w+)", parts.get("Twin", "")):
        module = importlib.import_module(f"cnnlayers.reference.{twin[0]}")
        if not hasattr(module, twin[1]):
            yield f"there is no twin reference.{twin[0]}.{twin[1]}"


def _raising(kind: type) -> str:
    """The first of a layer's methods, its own or inherited from below Layer, that raises an error of its own."""
    for method in PASSES:
        function = inspect.unwrap(getattr(kind, method))
        if getattr(function, "__module__", "") != cl.Layer.__module__ and raises(function, DEPTH):
            return function.__qualname__
    return ""


def raises(function: Any, depth: int) -> bool:
    """Whether a function raises an error, or calls one of the package's checks that does, so many calls deep."""
    if not isinstance(function, FunctionType):
        return False
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except OSError:
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and "NotImplementedError" not in ast.dump(node):
            return True
        if depth and isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = inspect.unwrap(function.__globals__.get(node.func.id, len))
            room = getattr(called, "__module__", "")
            if re.match(r"cnnlayers\.(?!kernels)", room) and raises(called, depth - 1):
                return True
    return False


def _equations(parts: dict[str, str]) -> Iterator[str]:
    for block in docstrings.EQUATIONS:
        for line in parts.get(block, "").splitlines():
            try:
                equations.parts(line)
            except equations.EquationError as error:
                yield str(error)


def _parameters(value: Callable, parts: dict[str, str]) -> Iterator[str]:
    if isinstance(value, type) and issubclass(value, BaseException):
        return
    try:
        own = [
            p for p in inspect.signature(value).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
    except ValueError:
        own = []
    text = parts.get("Parameters", "")
    entries = re.findall(r"^(\w[^\n]*)\n?((?: {4}[^\n]*\n?|\n)*)", text, flags=re.MULTILINE)
    said = {name for head, _ in entries for name in re.split(r",\s*", head.partition(" : ")[0])}
    missing = [parameter.name for parameter in own if parameter.name not in said]
    if "Parameters" in parts and missing:
        yield f"its parameters {', '.join(missing)} are not listed"
    for head, body in entries:
        name, _, kind = head.partition(" : ")
        if re.match(r"arrays?\b", kind) and not re.search(
            r"\(.*\)|shape|as for|a batch", kind + body, flags=re.IGNORECASE
        ):
            yield f"the shape of {name} is not said"
