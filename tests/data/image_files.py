"""Image files written by hand: what no program writes, or none that is installed."""

import io
import struct
import zlib

import numpy as np

PHOTO = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)  # 48 x 32
TURNED = (0x112, 3, 1, struct.pack("<I", 6))


def exif(*entries, tail=b"", count=None):
    rows = b"".join(struct.pack("<HHI", tag, kind, n) + value for tag, kind, n, value in entries)
    number = len(entries) if count is None else count
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, number) + rows + bytes(4) + tail


LONG = b"x" * (3 << 20)  # three megabytes once unpacked: more than Pillow takes of a text


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rows, depth, colour, *before, after=(), width=16, height=16):
    """Write a PNG of packed rows; chunks come before the pixels and after."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + bytes(row) for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + pixels + b"".join(after) + chunk(b"IEND", b"")


def saved(image, suffix="png", **options):
    file = io.BytesIO()
    image.save(file, suffix, **options)
    return file.getvalue()


def tiff(samples, extra, *odd):
    """Write a TIFF of 8 bits, four samples a pixel; `extra` says what the fourth is: 1 premultiplied alpha, 2 alpha."""
    bits = 8 + 2 + 12 * (9 + len(odd)) + 4
    height, width, _ = samples.shape
    tags = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, 4, bits), (259, 3, 1, 1), (262, 3, 1, 2)),
        *((273, 4, 1, bits + 8), (277, 3, 1, 4), (279, 4, 1, samples.nbytes), (338, 3, 1, extra), *odd),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head + struct.pack("<4H", 8, 8, 8, 8) + samples.tobytes()


def put(tmp_path, content):
    path = tmp_path / "image"
    path.write_bytes(content)
    return path
