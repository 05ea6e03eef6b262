"""What a check of a platform found: a line of the table in docs/platforms.md."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A check that passed.

    `platform` is a system and a processor, `what` what was checked, with counts, and `how` how it ran: "run",
    "emulated by qemu-user 7.2", "run under Wine 8.0", "compiled and linked only".
    """

    platform: str
    what: str
    how: str
