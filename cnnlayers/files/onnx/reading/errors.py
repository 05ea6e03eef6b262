"""Why a node has no place in a net."""


class Refused(Exception):
    """A node cannot become layers: why, and for an attribute which one."""

    def __init__(self, why: str, attribute: str = ""):
        super().__init__(why)
        self.why, self.attribute = why, attribute
