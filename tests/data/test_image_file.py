"""One image in a file: transparency, metadata, damage and size."""

import contextlib
import struct
import threading
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from cnnlayers import DataError
from cnnlayers.data import image_file as module
from cnnlayers.data.datasets import read_image
from tests.data.image_files import LONG, PHOTO, TURNED, chunk, exif, png, put, saved, tiff

# A black bar on nothing: what is opaque, and how the image looks on white
BAR = np.zeros((16, 16), bool)
BAR[4:12, 6:9] = True
ON_WHITE = np.where(BAR, 0, 255).astype(np.uint8)
ALPHA = np.where(BAR, 255, 0).astype(np.uint8)


def packed(values, depth):
    """Rows of numbers of 1, 2, 4 or 8 bits."""
    bits = np.unpackbits(np.asarray(values, np.uint8)[..., np.newaxis], axis=-1)[..., -depth:]
    return np.packbits(bits.reshape(len(values), -1), axis=1)


def palette(**options):
    image = Image.new("P", (16, 16))
    image.putdata(BAR.astype(int).ravel().tolist())
    image.putpalette([0, 0, 0] * 256)
    return saved(image, **options)


def rgba(hidden=(0, 0, 0)):
    a = np.zeros((16, 16, 4), np.uint8)
    a[..., 3] = ALPHA
    a[~BAR, :3] = hidden
    return a


def transparent_files():
    key = [chunk(b"tRNS", struct.pack(">H", 1))]
    sixteen = np.where(BAR[..., np.newaxis], 0, 0x1234).astype(">u2").repeat(3, axis=2)
    colour = np.where(BAR[..., np.newaxis], 0, [10, 20, 30]).astype(np.uint8)
    yield "RGBA", saved(Image.fromarray(rgba()))
    yield "RGBA with hidden colours", saved(Image.fromarray(rgba((255, 0, 255))))
    yield "LA", saved(Image.fromarray(rgba((200, 0, 0))[..., [0, 3]]))
    yield "palette with one transparent colour", palette(transparency=0)
    yield "palette with alpha", palette(transparency=bytes([0, 255]))
    yield "palette in a GIF", palette(suffix="gif", transparency=0)
    yield "RGB with tRNS", png(colour.reshape(16, -1), 8, 2, chunk(b"tRNS", struct.pack(">HHH", 10, 20, 30)))
    yield (
        "RGB of 16 bits with tRNS",
        png([row.tobytes() for row in sixteen], 16, 2, chunk(b"tRNS", struct.pack(">HHH", *[0x1234] * 3))),
    )
    for depth in (1, 2, 4, 8):
        yield f"gray of {depth} bits with tRNS", png(packed(~BAR, depth), depth, 0, *key)
    yield "WEBP", saved(Image.fromarray(rgba((9, 99, 199))), "webp", lossless=True, exact=True)
    yield "TIFF", tiff(rgba((255, 0, 255)), 2)
    yield "TIFF, premultiplied", tiff(rgba(), 1)
    yield "TIFF of LA", saved(Image.fromarray(rgba((200, 0, 0))[..., [0, 3]]), "tiff")


FILES = dict(transparent_files())


@pytest.mark.parametrize("name", FILES)
def test_what_is_transparent_is_white(tmp_path, name):
    path = put(tmp_path, FILES[name])
    for channels in (3, 1):
        x = read_image(path, 16, channels)
        np.testing.assert_array_equal(x, np.repeat(ON_WHITE[..., np.newaxis], channels, axis=2))


@pytest.mark.parametrize("name", FILES)
def test_on_another_ground(tmp_path, name):
    path = put(tmp_path, FILES[name])
    red = read_image(path, 16, background=(255, 7, 0))
    np.testing.assert_array_equal(red, np.where(BAR[..., np.newaxis], 0, [255, 7, 0]))
    np.testing.assert_array_equal(read_image(path, 16, 1, background=9)[..., 0], np.where(BAR, 0, 9))
    assert not read_image(path, 16, background=0).any()


@pytest.mark.parametrize("size", [5, (7, 11), 40])
def test_colours_that_nobody_sees_do_not_bleed(tmp_path, size):
    """Scaling comes after the ground is there."""
    arrays = [read_image(put(tmp_path, content), size) for content in FILES.values()]
    for x in arrays[1:]:
        np.testing.assert_array_equal(x, arrays[0])


def test_what_is_half_transparent(tmp_path):
    """alpha * colour + (1 - alpha) * ground"""
    half = np.full((4, 4, 4), [200, 100, 0, 51], np.uint8)  # alpha is a fifth
    path = put(tmp_path, saved(Image.fromarray(half)))
    np.testing.assert_array_equal(read_image(path, 4)[0, 0], [244, 224, 204])
    np.testing.assert_array_equal(read_image(path, 4, background=(0, 50, 100))[0, 0], [40, 60, 80])
    premultiplied = rgba()
    premultiplied[...] = [40, 20, 0, 51]
    np.testing.assert_array_equal(read_image(put(tmp_path, tiff(premultiplied, 1)), 4)[0, 0], [244, 224, 204])


@pytest.mark.parametrize(
    ("background", "channels", "error", "text"),
    [
        (256, 3, ValueError, "read_image: background must be 0 to 255; got 256"),
        ((0, 0, -1), 3, ValueError, "background must be 0 or more; got -1"),
        ((0, 0), 3, ValueError, r"background must be an int or 3 of them, a channel each; got \(0, 0\)"),
        ((0, 0, 0), 1, ValueError, "background must be an int or 1 of them"),
        (1.0, 3, TypeError, r"background must be an int; got 1\.0"),
    ],
)
def test_grounds_that_are_none(tmp_path, background, channels, error, text):
    with pytest.raises(error, match=text):
        read_image(tmp_path / "any", 8, channels, background=background)


# Damage


def test_files_that_break_off(tmp_path):
    whole = saved(Image.fromarray(PHOTO), "jpeg", quality=95)
    expected = read_image(put(tmp_path, whole), (48, 32))
    path = put(tmp_path, whole[:-20])
    with pytest.raises(DataError, match=r"damaged or none: .*truncated.*; truncated=True takes what can be decoded"):
        read_image(path, (48, 32))
    x = read_image(path, (48, 32), truncated=True)
    np.testing.assert_array_equal(x[:31], expected[:31])
    np.testing.assert_array_equal(x[:, :15], expected[:, :15])  # the last block is what is missing
    np.testing.assert_array_equal(read_image(put(tmp_path, whole), (48, 32), truncated=True), expected)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tiff"])
def test_other_formats_that_break_off(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = saved(Image.fromarray(noise), suffix)
    cut = len(whole) - 2000  # of 12,288
    if suffix == "tiff":  # whose tags may be at the end
        cut = len(whole) - 1000
    path = put(tmp_path, whole[:cut])
    with pytest.raises(DataError, match="damaged or none"):
        read_image(path, 64)
    x = read_image(path, 64, truncated=True)
    rows = slice(10, 64) if suffix == "bmp" else slice(0, 50)  # which begins at the bottom
    np.testing.assert_array_equal(x[rows][12:40], noise[rows][12:40])


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n" + bytes(30)])
def test_what_is_no_image_is_none_if_truncated(tmp_path, content):
    with pytest.raises(DataError, match="expected an image; found that it is damaged or none"):
        read_image(put(tmp_path, content), 8, truncated=True)


def test_lightness_and_colours(tmp_path):
    """Half of the lightness, no colour: in sRGB that is 119."""
    path = put(tmp_path, saved(Image.new("LAB", (8, 8), (128, 128, 128)), "tiff"))
    for channels in (3, 1):
        np.testing.assert_allclose(read_image(path, 8, channels).astype(int), 119, atol=2)


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "CMYK"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_orientation_of_a_plain_tiff(tmp_path, mode, turned):
    """Pillow, which maps such files into memory, turns some of them twice."""
    image = Image.fromarray(PHOTO).convert(mode)
    expected = read_image(put(tmp_path, saved(image, "tiff")), (48, 32))
    shape = (48, 32) if turned < 5 else (32, 48)
    x = read_image(put(tmp_path, saved(image, "tiff", tiffinfo={0x112: turned})), shape)
    back = {2: x[:, ::-1], 3: x[::-1, ::-1], 4: x[::-1], 5: x, 6: x[:, ::-1], 7: x[::-1, ::-1], 8: x[::-1]}.get(
        turned, x
    )
    np.testing.assert_array_equal(back if turned < 5 else back.swapaxes(0, 1), expected)


def test_a_folder_or_nothing_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "nothing.png", 8)
    with pytest.raises(IsADirectoryError):
        read_image(tmp_path, 8)


# Size


def noting(function, results):
    """The same function, which puts what it gives on a list."""

    def noted(*arguments):
        results.append(function(*arguments))
        return results[-1]

    return noted


def test_a_large_jpeg_is_decoded_at_a_smaller_scale(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 100 * 100)
    y, x = np.mgrid[:640, :480]
    smooth = np.stack([x / 480 * 255, y / 640 * 255, (x + y) / 1120 * 255], axis=2).astype(np.uint8)
    for options in ({}, {"exif": exif(TURNED)}, {"progressive": True}):
        path = put(tmp_path, saved(Image.fromarray(smooth), "jpeg", quality=95, **options))
        size = (60, 80) if "exif" in options else (80, 60)
        monkeypatch.setattr(module, "MAX_PIXELS", 10**9)
        whole = read_image(path, size)
        monkeypatch.setattr(module, "MAX_PIXELS", 100 * 100)
        np.testing.assert_allclose(read_image(path, size).astype(int), whole, atol=4)
        opened = []
        with monkeypatch.context() as patch:
            patch.setattr(module, "_open", noting(module._open, opened))
            for wanted in ((80, 60), (200, 150), (600, 450)):
                read_image(path, wanted[::-1] if "exif" in options else wanted)
        assert [image.size for image in opened] == [(60, 80), (240, 320), (480, 640)]


def test_what_would_take_too_much_memory_is_refused_before_it_is_decoded(tmp_path):
    """Thirty thousand pixels a side, in a file of a few hundred kilobytes."""
    side = 30_000
    rows = zlib.compress(bytes(side * 4 * 10 + 10), 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0))
    path = put(tmp_path, b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"at most 1,000,000,000 bytes.*found 30,000 x 30,000 pixels"):
            read_image(path, 8)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_large_images_of_other_formats_are_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 100)
    monkeypatch.setattr(module, "MAX_BYTES", 32 * 48 * 4)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow would warn, and refuse
    for suffix in ("png", "bmp", "ppm", "tiff"):
        path = put(tmp_path, saved(Image.fromarray(PHOTO), suffix))
        np.testing.assert_array_equal(read_image(path, (48, 32)), PHOTO)
    monkeypatch.setattr(module, "MAX_BYTES", 32 * 48 * 4 - 1)
    with pytest.raises(DataError, match="takes at most 6,143 bytes, decoded; found 32 x 48 pixels, which take 6,144"):
        read_image(path, 8)
    assert read_image(put(tmp_path, saved(Image.fromarray(PHOTO).convert("L"))), 8).shape == (8, 8, 3)


def test_the_coefficients_of_a_progressive_jpeg_count(tmp_path, monkeypatch):
    """2 bytes for each of three components, however small it is decoded."""
    monkeypatch.setattr(module, "MAX_PIXELS", 100)
    monkeypatch.setattr(module, "MAX_BYTES", 4000)
    image = Image.fromarray(PHOTO)
    assert read_image(put(tmp_path, saved(image, "jpeg", subsampling=0)), 4).shape == (4, 4, 3)
    path = put(tmp_path, saved(image, "jpeg", subsampling=0, progressive=True))
    with pytest.raises(DataError, match=r"which take 9,312"):  # 32 * 48 * 6 + 4 * 6 * 4
        read_image(path, 4)
    assert read_image(put(tmp_path, saved(image.convert("L"), "jpeg", progressive=True)), 4).shape == (4, 4, 3)


def test_from_many_threads(tmp_path):
    """No limit of Pillow is changed while another thread reads."""
    good = put(tmp_path, png(PHOTO.reshape(48, -1), 8, 2, chunk(b"tEXt", b"note\0" + LONG), width=32, height=48))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(saved(Image.fromarray(PHOTO), "jpeg")[:-20])
    wrong = []

    def work():
        for _ in range(10):
            if not np.array_equal(read_image(good, (48, 32)), PHOTO):
                wrong.append("pixels")
            read_image(cut, 8, truncated=True)
            try:
                read_image(cut, 8)
                wrong.append("no error")
            except DataError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("suffix", ["png", "jpeg", "tiff", "gif", "webp", "bmp", "ppm"])
def test_damage_of_any_kind_is_an_error_of_the_data(tmp_path, suffix):
    rng = np.random.default_rng(0)
    tags = Image.Exif()
    tags[0x112], tags[0x110] = 6, "camera"
    whole = saved(
        Image.fromarray(PHOTO), suffix, **({"exif": tags} if suffix in ("png", "jpeg", "tiff", "webp") else {})
    )
    for i in range(60):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(0, min(len(data), 400), 1 + i % 4)] = rng.integers(0, 256)
        path = put(tmp_path, data.tobytes()[: None if i % 3 else rng.integers(len(data))])
        for truncated in (False, True):
            with warnings.catch_warnings(), contextlib.suppress(DataError):
                warnings.simplefilter("ignore")
                assert read_image(path, 8, truncated=truncated).shape == (8, 8, 3)
