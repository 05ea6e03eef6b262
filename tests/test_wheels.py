"""What is built to be published: the workflow, cibuildwheel's table in pyproject.toml, setup.py and the pages agree."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WHEELS = PROJECT["tool"]["cibuildwheel"]
WORKFLOW = (ROOT / ".github" / "workflows" / "wheels.yml").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")

SYSTEMS = {"ubuntu": "Linux", "macos": "macOS", "windows": "Windows"}


def minors(texts, pattern):
    """The minor versions of CPython 3 that texts name."""
    return [int(found[1]) for text in texts if (found := re.fullmatch(pattern, text))]


def processor(runner):
    """What a runner of the public CI service has; cibuildwheel builds for it."""
    if runner.startswith("macos"):
        return "x86-64" if runner.endswith("-intel") else "ARM"
    return "aarch64" if runner.endswith("-arm") else "x86-64"


def test_wheels_are_for_the_pythons_that_the_package_says():
    built = minors(WHEELS["build"], r"cp3(\d+)-\*")
    (oldest,) = minors([PROJECT["project"]["requires-python"]], r">=3\.(\d+)")
    said = minors(PROJECT["project"]["classifiers"], r"Programming Language :: Python :: 3\.(\d+)")
    assert [min(built), max(built)] == [min(said), max(said)]
    assert min(built) == oldest
    assert said == list(range(min(said), max(said) + 1))


def test_the_stable_abi_is_that_of_the_oldest_python():
    oldest = min(minors(WHEELS["build"], r"cp3(\d+)-\*"))
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert re.findall(r'"py_limited_api": "cp3(\d+)"', setup) == [str(oldest)]
    assert re.findall(r'"Py_LIMITED_API", "(\w+)"', setup) == [f"0x03{oldest:02x}0000"]
    assert f"CPython 3.{oldest} and all later versions" in PAGE
    newest = max(minors(WHEELS["build"], r"cp3(\d+)-\*"))
    assert re.findall(r"CIBW_BUILD: (.*)", WORKFLOW) == [f"cp3{oldest}-* cp3{newest}-*"]
    (free_threaded,) = minors(WHEELS["build"], r"cp3(\d+)t-\*")
    assert f"the free-threaded\n3.{free_threaded} (`cp3{free_threaded}t`)" in PAGE


def test_the_page_lists_the_platforms_of_the_wheels():
    runners = re.findall(r"^ {10}- ([\w.-]+)$", WORKFLOW, flags=re.MULTILINE)
    built = {(SYSTEMS[runner.split("-")[0]], processor(runner)) for runner in runners}
    assert len(built) == len(runners) > 0
    rows = re.findall(r"^\| (\w+)[^|]* \| ([^|]+) \| `\w+` \|$", PAGE, flags=re.MULTILINE)
    assert {WHEELS["manylinux-x86_64-image"], WHEELS["manylinux-aarch64-image"]} == {"manylinux_2_28"}
    assert "glibc 2.28 or later | x86-64, aarch64 | `manylinux_2_28` |" in PAGE
    assert built == {(system, name) for system, names in rows for name in names.split(", ")}


def test_a_wheel_passes_the_tests_that_the_makefile_calls_those_of_kernels():
    tests = re.findall(r"tests/\S+", WHEELS["test-command"][0])
    assert tests == re.search(r"^KERNEL_TESTS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert all((ROOT / name).exists() for name in [*tests, *WHEELS["test-sources"]])
    assert set(WHEELS["test-requires"]) <= set(PROJECT["project"]["optional-dependencies"]["dev"])


def test_a_tag_alone_publishes_and_nothing_else_may():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    workflow = yaml.safe_load(WORKFLOW)
    jobs = workflow["jobs"]
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
    publish = jobs["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert set(publish["needs"]) == jobs.keys() - {"publish"}
    assert publish["if"] == "github.event_name == 'push' && startsWith(github.ref, 'refs/tags/v')"
    assert "secrets." not in WORKFLOW
