"""The package's own exceptions; all others are Python's ordinary ones."""


class CheckpointError(RuntimeError):
    """A file is damaged, lies about itself, or does not fit the net."""


class DataError(ValueError):
    """A data file is damaged or lies about itself."""


class NonFiniteError(ArithmeticError):
    """Training met a NaN or an infinity; the step that met it was not taken."""
