"""The JSON file of a run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .runner import Result

FORMAT = 1


@dataclass(frozen=True)
class Report:
    """A run: where, how, and what came out."""

    environment: dict[str, Any]
    settings: dict[str, Any]
    results: Sequence[Result]


def save(report: Report, path: str | Path) -> None:
    """Write the run; minimum and median stand in the file for those who read it."""
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
    results = [
        Result(
            one["suite"],
            one["name"],
            {side: times["all"] for side, times in one["sides"].items()},
            one["work"],
            one["unit"],
        )
        for one in data["results"]
    ]
    return Report(data["environment"], data["settings"], results)


def _as_dict(result: Result) -> dict[str, Any]:
    return {
        "suite": result.suite,
        "name": result.name,
        "unit": result.unit,
        "work": result.work,
        "sides": {
            side: {"minimum": result.minimum(side), "median": result.median(side), "all": seconds}
            for side, seconds in result.seconds.items()
        },
    }
