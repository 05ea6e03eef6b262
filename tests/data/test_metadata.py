"""What an image file says besides its pixels: it may be broken in any way."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from cnnlayers.data.datasets import read_image
from tests.data.image_files import LONG, PHOTO, TURNED, chunk, exif, png, put, saved, tiff

BLOCKS = {  # and the orientation that is to be understood
    "width as text": (exif((0x100, 2, 4, b"48\0\0"), TURNED), 6),
    "model as a float": (exif((0x110, 11, 1, struct.pack("<f", 1.5)), TURNED), 6),
    "resolution 0/0": (exif(TURNED, (0x11A, 5, 1, struct.pack("<I", 38)), tail=bytes(8)), 6),
    "signed rational -1/0": (exif(TURNED, (0x9204, 10, 1, struct.pack("<I", 38)), tail=struct.pack("<ii", -1, 0)), 6),
    "a value beyond the end": (exif(TURNED, (0x11A, 5, 1, struct.pack("<I", 9999))), 6),
    "more entries announced than there are": (exif(TURNED, count=500), 6),
    "an unknown type": (exif((0x110, 99, 1, bytes(4)), TURNED), 6),
    "a huge count": (exif((0x110, 2, 2**31, bytes(4)), TURNED), 6),
    "another directory that is nowhere": (exif(TURNED, (0x8769, 4, 1, struct.pack("<I", 2**31))), 6),
    "orientation as a long number": (exif((0x112, 4, 1, struct.pack("<I", 6))), 6),
    "orientation as a byte": (exif((0x112, 1, 1, struct.pack("<I", 6))), 6),
    "orientation 9": (exif((0x112, 3, 1, struct.pack("<I", 9))), 1),
    "orientation as text": (exif((0x112, 2, 2, b"6\0\0\0")), 1),
    "orientation twice": (exif((0x112, 3, 2, struct.pack("<HH", 6, 6))), 6),
    "cut in the entry": (exif(TURNED)[:20], 1),
    "cut in the head": (exif(TURNED)[:9], 1),
    "head alone": (b"Exif\0\0", 1),
    "no byte order": (b"Exif\0\0??*\0" + bytes(40), 1),
    "zeros": (b"Exif\0\0" + bytes(60), 1),
    "a directory beyond the end": (b"Exif\0\0II*\0" + struct.pack("<I", 2**32 - 1), 1),
}


def with_exif(suffix, block):
    image = Image.fromarray(PHOTO)
    if suffix == "png":
        return saved(image).replace(b"IDAT", b"IDAT", 1)[:33] + chunk(b"eXIf", block[6:]) + saved(image)[33:]
    if suffix == "png, at the end":
        return saved(image)[:-12] + chunk(b"eXIf", block[6:]) + chunk(b"IEND", b"")
    if suffix == "webp":
        return saved(image, "webp", lossless=True, exif=block)
    whole = saved(image, "jpeg", quality=100, subsampling=0)
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + whole[2:]


@pytest.mark.parametrize("strict", [False, True], ids=["", "warnings are errors"])
@pytest.mark.parametrize("suffix", ["jpeg", "png", "png, at the end", "webp"])
@pytest.mark.parametrize("name", BLOCKS)
def test_broken_exif_blocks_do_no_harm(tmp_path, name, suffix, strict):
    block, understood = BLOCKS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "ignore")
        x = read_image(put(tmp_path, with_exif(suffix, block)), (48, 32) if understood == 1 else (32, 48))
    expected = PHOTO if understood == 1 else np.rot90(PHOTO, -1)
    np.testing.assert_allclose(x.astype(int), expected, atol=8 if suffix == "jpeg" else 0)


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpeg", "png", "webp", "tiff"])
def test_every_orientation(tmp_path, suffix, turned):
    block = exif((0x112, 3, 1, struct.pack("<I", turned)))
    if suffix == "tiff":
        content = saved(Image.fromarray(PHOTO), suffix, tiffinfo={0x112: turned})
    else:
        content = with_exif(suffix, block)
    upright = PHOTO[:: -1 if turned in (3, 4) else 1, :: -1 if turned in (2, 3) else 1]
    if turned > 4:
        upright = {5: PHOTO, 6: PHOTO[::-1], 7: PHOTO[::-1, ::-1], 8: PHOTO[:, ::-1]}[turned].swapaxes(0, 1)
    x = read_image(put(tmp_path, content), upright.shape[:2])
    np.testing.assert_allclose(x.astype(int), upright, atol=8 if suffix == "jpeg" else 0)


CHUNKS = {
    "a long text": chunk(b"tEXt", b"note\0" + LONG),
    "a long compressed text": chunk(b"zTXt", b"note\0\0" + zlib.compress(LONG)),
    "a long international text": chunk(b"iTXt", b"note\0\1\0\0\0" + zlib.compress(LONG)),
    "a long colour profile": chunk(b"iCCP", b"icc\0\0" + zlib.compress(LONG)),
    "two megabytes, compressed": chunk(b"zTXt", b"note\0\0" + zlib.compress(np.random.default_rng(0).bytes(2 << 20))),
    "two megabytes of profile, compressed": chunk(
        b"iCCP", b"icc\0\0" + zlib.compress(np.random.default_rng(0).bytes(2 << 20))
    ),
    "many long texts": b"".join(chunk(b"zTXt", b"a%d\0\0" % i + zlib.compress(LONG[: 1 << 20])) for i in range(70)),
    "a profile of an unknown compression": chunk(b"iCCP", b"icc\0\7" + bytes(9)),
    "a profile cut off": chunk(b"iCCP", b"icc"),
    "an empty profile": chunk(b"iCCP", b""),
    "a resolution cut off": chunk(b"pHYs", b"\0\0"),
    "a gamma cut off": chunk(b"gAMA", b"\0"),
    "a wrong checksum": chunk(b"tEXt", b"note\0hello")[:-1] + b"?",
    "a text of an unknown compression": chunk(b"zTXt", b"note\0\7" + bytes(9)),
}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("name", CHUNKS)
def test_long_or_broken_chunks_do_no_harm(tmp_path, name, place):
    turned = chunk(b"eXIf", exif(TURNED)[6:])
    pixels = PHOTO.reshape(48, -1)
    chunks = {"before": (turned, CHUNKS[name]), "after": (turned,)}[place]
    content = png(pixels, 8, 2, *chunks, after=[CHUNKS[name]] if place == "after" else [], width=32, height=48)
    path = put(tmp_path, content)
    limits = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    np.testing.assert_array_equal(read_image(path, (32, 48)), np.rot90(PHOTO, -1))
    assert limits == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize(
    "segment",
    [
        b"\xff\xe0\0\7JFIF\0",
        b"\xff\xe2\0\x0eICC_PROFILE\0",
        b"\xff\xe2\0\x10ICC_PROFILE\0\1\2",
        b"\xff\xe2\0\x06MPF\0",
        b"\xff\xe2\0\x0eMPF\0" + b"MM\0*" + bytes([0, 0, 0, 8]),
        b"\xff\xed\0\x16Photoshop 3.0\0" + b"8BIM" + b"\3\xed",
        b"\xff\xed\0\x20Photoshop 3.0\0" + b"8BIM" + b"\3\xed" + bytes(2) + struct.pack(">I", 0) + bytes(4),
        b"\xff\xe1\0\x21http://ns.adobe.com/xap/1.0/\0\xff\xfe",
        b"\xff\xee\0\x07Adobe",
        b"\xff\xff\xff\xfe\0\4\xff\xd8",
    ],
    ids=lambda segment: repr(segment[:20]),
)
def test_broken_segments_of_a_jpeg_do_no_harm(tmp_path, segment):
    whole = saved(Image.fromarray(PHOTO), "jpeg", quality=100, subsampling=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = read_image(put(tmp_path, whole[:2] + segment + whole[2:]), (48, 32))
    np.testing.assert_allclose(x.astype(int), PHOTO, atol=8)


def test_the_first_image_of_an_mpo_file(tmp_path):
    other = Image.fromarray(255 - PHOTO)
    content = saved(Image.fromarray(PHOTO), "mpo", save_all=True, append_images=[other], quality=100, subsampling=0)
    np.testing.assert_allclose(read_image(put(tmp_path, content), (48, 32)).astype(int), PHOTO, atol=8)


@pytest.mark.parametrize(
    "odd",
    [
        (0x8769, 4, 1, 2**31),  # a directory of EXIF that is nowhere
        (0x11A, 5, 1, 0),  # a resolution that is no fraction
        (0x11A, 5, 1, 2**31),
        (0x110, 11, 1, 0),  # a model as a number
        (0x110, 2, 2**30, 0),
        (0x110, 77, 1, 0),
        (0x8773, 7, 2**30, 0),  # a colour profile beyond the end
        (0x2BC, 1, 4, 0xFFFFFFFF),  # a text that is none
        (0x8825, 2, 4, 0),
    ],
    ids=repr,
)
def test_odd_tags_of_a_tiff_do_no_harm(tmp_path, odd):
    samples = np.dstack([PHOTO, np.full((48, 32), 255, np.uint8)])
    path = put(tmp_path, tiff(samples, 2, (0x112, 3, 1, 6), odd))
    for action in ("ignore", "error"):
        with warnings.catch_warnings():
            warnings.simplefilter(action)
            np.testing.assert_array_equal(read_image(path, (32, 48)), np.rot90(PHOTO, -1))
