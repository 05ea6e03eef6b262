"""macOS on ARM: everything compiled and linked. There is no Mac here, so nothing is run."""

from collections.abc import Iterator

from . import cross
from .row import Row


def run() -> Iterator[Row]:
    mac = cross.Target("macosx-11.0-arm64", "aarch64-macos.11.0")
    objects = [*mac.level_objects(), *mac.other_objects()]
    mac.test_program(objects, "kernels")
    modules = mac.module_objects(mac.python_headers())
    for name, module in modules.items():
        own = objects if name == "_kernels" else []
        made = mac.folder / f"{name}.abi3.so"
        cross.zig("cc", "-target", mac.triple, "-shared", "-undefined", "dynamic_lookup", module, *own, "-o", made)
    what = f"{len(objects)} objects of the kernels, their test program, modules {' and '.join(modules)}"
    yield Row("macOS, ARM64", what, f"compiled and linked only, by {cross.clang_version()}")
