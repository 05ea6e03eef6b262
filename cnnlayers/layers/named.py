"""The dicts that hold a layer's arrays."""

import numpy as np

from ..arrays import as_array


class Arrays(dict):
    """Named arrays. Assigning to a name that is there copies into its array; a new name is refused once built."""

    sealed = False

    def __setitem__(self, name: str, value) -> None:
        if name in self:
            value = as_array(value, repr(name))
            if value.shape != self[name].shape:
                raise ValueError(f"{name!r} has shape {self[name].shape}; got shape {value.shape}")
            self[name][...] = value
        elif self.sealed:
            raise KeyError(f"no array is named {name!r}; there are {', '.join(map(repr, self)) or 'none'}")
        else:
            super().__setitem__(name, np.asarray(value))

    def update(self, *args, **kwargs) -> None:
        """Assign each item."""
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __ior__(self, other):  # type: ignore[misc]
        self.update(other)
        return self

    def _refuse(self, *args, **kwargs):
        raise TypeError("the arrays of a layer cannot be removed; assign new values instead")

    __delitem__ = pop = popitem = clear = setdefault = _refuse
