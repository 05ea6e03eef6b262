"""What an image file says besides its pixels: which way is up; and the file without all that.

Cameras and programs write EXIF blocks, texts and colour profiles of every kind, broken ones too. None of them may keep
an image from being read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Literal

__all__ = ["exif_of", "orientation", "orientation_in", "scan_components", "without_metadata"]

ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = 1
TYPES = {1: "B", 3: "H", 4: "I"}  # of a whole number in EXIF
EXIF = b"Exif\0\0"
PNG = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
JPEG = b"\xff\xd8"
SOS, APP1, APP14, COMMENT = 0xDA, 0xE1, 0xEE, 0xFE
TIFF = {b"II*\0": "<", b"MM\0*": ">"}
BYTE_ORDER: dict[str, Literal["little", "big"]] = {"<": "little", ">": "big"}
TIFF_PIXELS = {
    *(*range(254, 260), 262, 266, 273, ORIENTATION, 277, 278, 279, 284, 292, 293, 317, 320, *range(322, 326)),
    *(338, 339, 347, *range(512, 522), 529, 530, 531, 532),
}
APPS = range(0xE0, 0xF0)


def orientation(image: Any) -> int:
    """Give the EXIF orientation of an open image, 1 to 8; 1, upright, where there is none that can be understood."""
    block = image.info.get("exif")
    try:
        found = image.tag_v2.get(ORIENTATION) if hasattr(image, "tag_v2") else None  # a TIFF's own
        found = _as_orientation(found) or (orientation_in(block) if isinstance(block, bytes) else 0)
        return found or _as_orientation(image.getexif().get(ORIENTATION)) or UPRIGHT  # as XMP has it
    except Exception:  # Pillow's readers fail in many ways
        return UPRIGHT


def orientation_in(block: bytes) -> int:
    """Give the orientation in an EXIF block, or 0: 12 bytes an entry, (tag, type, count, value), after their number."""
    block = block.removeprefix(EXIF)
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return 0
    start = struct.unpack_from(order + "I", block, 4)[0] + 2
    count = int.from_bytes(block[start - 2 : start], BYTE_ORDER[order])
    for at in range(start, min(start + 12 * count, len(block) - 11), 12):
        tag, kind, n = struct.unpack_from(order + "HHI", block, at)
        if tag == ORIENTATION and kind in TYPES and 1 <= n <= 2:  # some write it twice
            return _as_orientation(struct.unpack_from(order + TYPES[kind], block, at + 8)[0])
    return 0


def exif_of(data: bytes) -> bytes:
    """Give the EXIF block of a PNG or JPEG file, or nothing."""
    if data.startswith(PNG):
        return next((chunk[8:-4] for kind, chunk in _chunks(data) if kind == b"eXIf"), b"")
    if data.startswith(JPEG):
        blocks = (part[4:] for kind, part in _segments(data) if kind == APP1)
        return next((block for block in blocks if block.startswith(EXIF)), b"")
    return b""


def without_metadata(data: bytes) -> bytes:
    """Give a PNG, JPEG or TIFF file without what its pixels do not need; any other as it is."""
    if data.startswith(PNG):
        return PNG + b"".join(chunk for kind, chunk in _chunks(data) if kind in PNG_PIXELS)
    if data.startswith(JPEG):
        return JPEG + b"".join(part for kind, part in _segments(data) if _is_of_pixels(kind, part))
    if data[:4] in TIFF:
        return _without_tags(data, TIFF[data[:4]])
    return data


def scan_components(data: bytes) -> int:
    """Give how many colour components the first scan of a JPEG file has."""
    scan = next((part for kind, part in _segments(data) if kind == SOS), b"")
    return scan[4] if len(scan) > 4 else 0


def _as_orientation(value: Any) -> int:
    """An orientation in whatever form it was written, or 0."""
    if isinstance(value, tuple | bytes) and len(value) == 1:
        value = value[0]
    return int(value) if value in range(1, 9) else 0


def _is_of_pixels(kind: int, segment: bytes) -> bool:
    """Whether a JPEG's pixels need a segment: Adobe's says how colours are stored."""
    return (kind not in APPS and kind != COMMENT) or (kind == APP14 and segment[4:9] == b"Adobe" and len(segment) >= 16)


def _without_tags(data: bytes, order: str) -> bytes:
    """A TIFF file whose first directory names what is about pixels alone, and no further directory."""
    start = int.from_bytes(data[4:8], BYTE_ORDER[order])
    count = int.from_bytes(data[start : start + 2], BYTE_ORDER[order])
    entries = [data[at : at + 12] for at in range(start + 2, start + 2 + 12 * count, 12)]
    kept = [entry for entry in entries if len(entry) == 12 and struct.unpack(order + "H", entry[:2])[0] in TIFF_PIXELS]
    directory = struct.pack(order + "H", len(kept)) + b"".join(kept) + bytes(4)
    return data[:start] + directory + data[start + len(directory) :]


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG file with their types: each is 4 bytes of length, 4 of type, the content, 4 of checksum."""
    at = len(PNG)
    while at + 8 <= len(data):
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at:stop]
        at = stop


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The segments of a JPEG file with their markers: FF, the marker, 2 bytes of length, the content.

    The last one is the start of a scan, with all that follows; or what follows a segment that has no such form.
    """
    at = len(JPEG)
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != SOS:
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xFF:  # padding
            stop = at + 1
        else:
            yield data[at + 1], data[at:stop]
        at = stop
    yield SOS, data[at:]
