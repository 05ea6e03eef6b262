"""Where a member of a zip file lies in it, so that one stored without compression is read in place."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

from ..errors import DataError

__all__ = ["place_of"]

HEADER = struct.Struct("<4s5H3I2H")  # signature, five fields, checksum and sizes, lengths of the name and of the rest
SIGNATURE = b"PK\x03\x04"


def place_of(file: BinaryIO, info: Any) -> int:
    """Give the place of the first byte of a member, from its header in front of it.

    Parameters
    ----------
    file : binary file
        The zip file.
    info : zipfile.ZipInfo
        The member, as the directory at the end of the file has it.

    Raises
    ------
    DataError
        If it is compressed or encrypted, or its header is not there or has another name.
    """
    import zipfile  # here, so that importing the package stays quick

    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
        raise DataError(f"expected {info.filename} as it is; found it compressed or encrypted")
    file.seek(info.header_offset)
    header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        raise DataError(f"expected a header in front of {info.filename}; found the end of the file")
    signature, *_, name_length, extra_length = HEADER.unpack(header)
    name = file.read(name_length)
    if signature != SIGNATURE or name not in (
        info.orig_filename.encode(),
        info.orig_filename.encode("cp437", "replace"),
    ):
        raise DataError(f"expected a header in front of {info.filename}; found other bytes")
    return info.header_offset + HEADER.size + name_length + extra_length
