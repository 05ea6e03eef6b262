"""setup.py: what it builds for which system, as far as that shows on any."""

import importlib.util
import os
import stat
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import SimpleNamespace

import pytest
import setuptools.command.build_ext

FILE = Path(__file__).parents[1] / "setup.py"

pytest.importorskip("Cython")
if not FILE.exists():
    pytest.skip("the tests of a wheel have no setup.py", allow_module_level=True)


def setup_for(monkeypatch, platform="", **environment):
    """setup.py as it is when it builds for this platform."""
    monkeypatch.setattr(os, "environ", {**os.environ, **environment})
    if platform:
        monkeypatch.setattr("sysconfig.get_platform", lambda: platform)
    spec = importlib.util.spec_from_file_location("setup_of_cnnlayers", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kernels(setup):
    (extension,) = (extension for extension in setup.EXTENSIONS if extension.name == "cnnlayers._kernels")
    return extension


@pytest.mark.parametrize(
    ("platform", "levels", "system"),
    [
        ("linux-x86_64", ["avx512", "avx2", "baseline"], "posix"),
        ("linux-aarch64", ["baseline"], "posix"),
        ("macosx-11.0-arm64", ["baseline"], "posix"),
        ("macosx-10.9-x86_64", ["avx512", "avx2", "baseline"], "posix"),
        ("win-amd64", ["avx512", "avx2", "baseline"], "windows"),
        ("win-arm64", ["baseline"], "windows"),
    ],
)
def test_the_platform_decides_on_levels_and_files(monkeypatch, platform, levels, system):
    setup = setup_for(monkeypatch, platform)
    assert list(setup.LEVELS) == levels
    names = [Path(source).stem for source in kernels(setup).sources]
    assert [name for name in names if name.startswith("system_")] == [f"system_{system}"]
    assert all((FILE.parent / source).exists() for source in kernels(setup).sources)
    assert kernels(setup).libraries == ([] if system == "windows" else ["m"])


def test_a_mac_builds_for_one_kind_of_processor(monkeypatch):
    """Its Python may be for two; the wheel's name says which one it is."""
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    setup = setup_for(monkeypatch, "macosx-11.0-universal2", ARCHFLAGS="")
    assert (setup.TARGET, setup.ARCH_ARGS) == ("arm64", ["-arch", "arm64"])
    assert os.environ["_PYTHON_HOST_PLATFORM"] == "macosx-11.0-arm64"
    setup = setup_for(monkeypatch, "macosx-11.0-universal2", ARCHFLAGS="-arch x86_64")
    assert (setup.TARGET, list(setup.LEVELS)) == ("x86_64", ["avx512", "avx2", "baseline"])
    assert os.environ["_PYTHON_HOST_PLATFORM"] == "macosx-11.0-x86_64"
    with pytest.raises(SystemExit, match=r"one processor at a time; ARCHFLAGS names arm64, x86_64"):
        setup_for(monkeypatch, "macosx-11.0-universal2", ARCHFLAGS="-arch arm64 -arch x86_64")


def test_archflags_are_for_macs_alone(monkeypatch):
    setup = setup_for(monkeypatch, "linux-aarch64", ARCHFLAGS="-arch x86_64")
    assert (setup.TARGET, setup.ARCH_ARGS) == ("aarch64", [])


def test_clang_cl_takes_clangs_arguments_behind_its_own_option(monkeypatch):
    setup = setup_for(monkeypatch)
    got = setup.for_clang_cl(["-O3", "-ffp-contract=fast", "-mavx2", "-Wno-psabi", "-DX=1", "/MD"])
    assert got == ["/clang:-O3", "/clang:-ffp-contract=fast", "-mavx2", "-Wno-psabi", "-DX=1", "/MD"]


class Microsoft(SimpleNamespace):
    """What setuptools' object for Microsoft's compiler has of what setup.py asks for."""

    initialized = False

    def initialize(self):
        self.initialized = True
        self.cc = str(self.tools / "MSVC" / "14.44" / "bin" / "HostX64" / "x64" / "cl.exe")
        self.compile_options = ["/nologo", "/O2", "/W3", "/GL", "/DNDEBUG", "/MD"]
        self.compile_options_debug = ["/nologo", "/Od", "/MDd"]


def program(folder, name):
    folder.mkdir(parents=True)
    file = folder / name
    file.write_text("")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


@pytest.mark.parametrize("place", ["path", "tools"])
def test_clang_cl_is_found(monkeypatch, tmp_path, place):
    name = "clang-cl.exe" if os.name == "nt" else "clang-cl"
    compiler = Microsoft(tools=tmp_path / "Tools")
    where = {"path": tmp_path / "bin", "tools": tmp_path / "Tools" / "Llvm" / "x64" / "bin"}
    found = program(where[place], name)
    setup = setup_for(monkeypatch, "win-arm64", PATH=str(tmp_path / "bin"))
    setup.use_clang_cl(compiler)
    assert Path(compiler.cc) == found
    assert compiler.compile_options == ["/nologo", "/W3", "/DNDEBUG", "/MD", "--target=arm64-pc-windows-msvc"]


def test_without_clang_cl_there_is_a_word_of_what_is_needed(monkeypatch, tmp_path):
    setup = setup_for(monkeypatch, "win-amd64", PATH=str(tmp_path))
    if Path(r"C:\Program Files\LLVM\bin\clang-cl.exe").exists():
        pytest.skip("it is installed here")
    with pytest.raises(SystemExit, match=r"needs clang-cl on Windows.*neither on PATH nor in .*Llvm.x64.bin"):
        setup.use_clang_cl(Microsoft(tools=tmp_path / "Tools"))


def test_another_compiler_for_windows_is_refused(monkeypatch):
    setup = setup_for(monkeypatch, "win-amd64")
    command = SimpleNamespace(compiler=SimpleNamespace(compiler_type="mingw32"))
    with pytest.raises(SystemExit, match="built by clang-cl on Windows; got the compiler mingw32"):
        setup.BuildExtensions.build_extensions(command)


def test_flags_may_hold_spaces(monkeypatch):
    setup = setup_for(monkeypatch, CFLAGS="-O1 -DNAME='\"a b\"'")
    assert setup.COMPILE_ARGS[-2:] == ["-O1", '-DNAME="a b"']


@pytest.fixture
def command(monkeypatch, tmp_path):
    """A build in an empty folder, which compiles nothing."""
    setup = setup_for(monkeypatch)
    monkeypatch.chdir(tmp_path)
    made = setup.BuildExtensions(setuptools.Distribution({"ext_modules": setup.EXTENSIONS}))
    made.finalize_options()
    monkeypatch.setattr(setuptools.command.build_ext.build_ext, "run", lambda self: None)
    return made


def test_what_a_build_that_failed_has_left_is_not_used(command, monkeypatch):
    assert not command._flags_changed()  # nothing is there
    command.run()
    assert not command._flags_changed()
    monkeypatch.setattr(setuptools.command.build_ext.build_ext, "run", lambda self: 1 / 0)
    with monkeypatch.context() as other:
        other.setattr(command, "_flags", lambda: "others")
        with pytest.raises(ZeroDivisionError):
            command.run()
    assert command._flags_changed()


@pytest.mark.parametrize("inplace", [False, True])
def test_modules_of_another_abi_are_removed(command, inplace):
    command.inplace = inplace
    folder = Path("." if inplace else command.build_lib, "cnnlayers")
    folder.mkdir(parents=True)
    new, other = folder / Path(command.get_ext_filename("_kernels")).name, folder / f"_kernels{EXTENSION_SUFFIXES[-1]}"
    strange = folder / "_kernels.cpython-399-x86_64-linux-gnu.so"
    assert new != other
    for file in (new, other, strange):
        file.touch()
    command.run()
    assert new.exists()
    assert not other.exists()
    assert strange.exists() == inplace  # that of another Python, which does not go into a wheel
