"""Streams that somebody may have put in the place of standard output and standard error."""

import io


class Tee:
    """What loggers have: write, and nothing else."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)


class Silent(Tee):
    """What cannot flush, and does not know whether it is a terminal."""

    def isatty(self):
        raise OSError("who knows?")

    def flush(self):
        raise OSError("no")


class Broken:
    """A terminal, or a pipe, that is there no more."""

    def __init__(self, error, terminal=False):
        self.error, self.terminal = error, terminal

    def isatty(self):
        return self.terminal

    def write(self, text):
        raise self.error

    def flush(self):
        raise self.error


def closed():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    stream.close()
    return stream


STREAMS = {
    "None": lambda: None,
    "closed": closed,
    "write alone": Tee,
    "cannot flush": Silent,
    "a pipe without a reader": lambda: Broken(BrokenPipeError(32, "Broken pipe")),
    "a full disk": lambda: Broken(OSError(28, "No space left on device")),
    "a terminal that hung up": lambda: Broken(OSError(5, "Input/output error"), terminal=True),
    "a terminal with a fault": lambda: Broken(RuntimeError("?"), terminal=True),
    "nothing of a stream": object,
    "ASCII": lambda: io.TextIOWrapper(io.BytesIO(), encoding="ascii"),
}
