"""`config()` and `repr` for objects that keep each constructor argument under its own name."""

import inspect
from typing import Any

__all__ = ["REGISTRY", "Configured", "arguments"]

REGISTRY: dict[str, type["Configured"]] = {}  # the package's own classes by name: all that a file may name


class Configured:
    """Base of layers, losses, optimisers, schedules and callbacks: the constructor's arguments are the configuration.

    A subclass stores each argument of `__init__` as an attribute of the same name; then `type(self)(**self.config())`
    is an equal object, and `repr` shows the arguments that differ from their defaults.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.partition(".")[0] == __name__.partition(".")[0]:
            REGISTRY[cls.__name__] = cls

    def config(self) -> dict[str, Any]:
        """Give the constructor's arguments: enough to make an equal object."""
        names = arguments(type(self))
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise TypeError(
                f"{type(self).__name__} keeps no attribute {missing[0]!r}: store each argument of __init__ under its "
                "own name, or define config()"
            )
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        defaults = {name: p.default for name, p in arguments(type(self)).items()}
        try:
            config = self.config()
        except TypeError:  # a user's class that stores its arguments elsewhere
            return f"{type(self).__name__}(...)"
        shown = [f"{name}={value!r}" for name, value in config.items() if value != defaults[name]]
        return f"{type(self).__name__}({', '.join(shown)})"


def arguments(cls: type) -> dict[str, inspect.Parameter]:
    """The constructor's named arguments."""
    if cls.__init__ is object.__init__:  # type: ignore[misc]
        return {}
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
    return {p.name: p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
