"""The JSON file of a run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .runner import Result

FORMAT = 2


@dataclass(frozen=True)
class Report:
    """A run: where, how, and what came out."""

    environment: dict[str, Any]
    settings: dict[str, Any]
    results: Sequence[Result]


def save(report: Report, path: str | Path) -> None:
    """Write the run; minimum and median are in the file for those who read it."""
    data = {
        "format": FORMAT,
        "environment": report.environment,
        "settings": report.settings,
        "results": [_as_dict(result) for result in report.results],
    }
    Path(path).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def load(path: str | Path) -> Report:
    """Read what `save` wrote."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:  # not JSON, or not even text
        data = None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f"{path} is not a benchmark report of format {FORMAT}: make it with --json")
    results = [_from_dict(one) for one in data["results"]]
    return Report(data["environment"], data["settings"], results)


FACTS = ("suite", "name", "unit", "reference", "dtype", "work", "traffic", "real_work", "algorithm")


def _as_dict(result: Result) -> dict[str, Any]:
    sides = {
        side: {"minimum": result.minimum(side), "median": result.median(side), "all": samples}
        for side, samples in result.samples.items()
    }
    return {**{name: getattr(result, name) for name in FACTS}, "sides": sides}


def _from_dict(data: dict[str, Any]) -> Result:
    samples = {side: figures["all"] for side, figures in data["sides"].items()}
    return Result(samples=samples, **{name: data[name] for name in FACTS if name in data})  # older files know fewer
