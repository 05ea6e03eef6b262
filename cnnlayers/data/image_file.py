"""One image in a file: its pixels, upright, on a ground where it is transparent, in the size that is asked for."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from ..checks import as_integer
from ..errors import DataError
from .metadata import exif_of, orientation, orientation_in, scan_components, without_metadata

__all__ = ["DamagedImageError", "as_background", "as_size", "need_pillow", "pillow_version", "read_image"]

MODES = {3: "RGB", 1: "L"}
BYTE_MODES = ("1", "L", "P")  # Pillow keeps a pixel of these in a byte, of others in four
MAX_PIXELS = 100_000_000  # an image of so many is read whole, however it is stored
MAX_BYTES = 1_000_000_000  # the most that a larger one may take in memory, decoded
END_OF_JPEG = b"\xff\xd9"
FULL_SCALE = {"L;2": 85, "L;4": 17}  # 255 / the largest value: what Pillow multiplies pixels by, but not tRNS


class DamagedImageError(DataError):
    """A file that should hold an image, and from which none can be decoded."""


def read_image(
    path: str | os.PathLike,
    size: int | Sequence[int],
    channels: int = 3,
    *,
    background: int | Sequence[int] = 255,
    truncated: bool = False,
) -> np.ndarray:
    """Read one image as `image_folder` does.

    It is turned upright as its EXIF orientation says, if that can be understood; scaled so that it covers `size`, and
    cut evenly. What is transparent is put on `background` before, so files that look alike give equal arrays. Broken
    EXIF blocks, texts and colour profiles do no harm.

    An image of up to 100 megapixels is decoded whole. A larger JPEG is decoded at a half, a quarter or an eighth of its
    size, as long as that covers `size`; any other format whole. Decoded, a larger one may take up to 1 GB (a pixel
    takes 4 bytes, a gray one or one of a palette 1; a progressive JPEG keeps up to 6 more for each pixel of the file);
    the peak is twice that, three times for a palette with transparency.

    Parameters
    ----------
    path : str or path
    size : int or (height, width)
    channels : {3, 1}
        Colour or gray.
    background : int or sequence of int
        What is seen through transparent pixels, 0 to 255: for all channels, or one for each. White by default.
    truncated : bool
        Take a file that breaks off for what can be decoded of it; the rest is gray in a JPEG, black in others.

    Returns
    -------
    array
        (height, width, channels) of uint8.

    Raises
    ------
    DataError
        If it is no image or damaged, is too large, or has more than 8 bits for a gray value.
    OSError
        If the file cannot be read.
    ImportError
        If Pillow is not installed.
    """
    need_pillow("read_image")
    from PIL import Image, ImageOps

    size = as_size("read_image", size)
    ground = as_background("read_image", background, channels)
    with open(path, "rb") as file:
        image, turned = _decode(path, file, size, truncated)
    image = _opaque(image, MODES[channels], ground)
    turns = (
        *(Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM),
        *(Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90),
    )
    if turned > 1:
        image = image.transpose(turns[turned - 2])
    fitted = ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(fitted, np.uint8).reshape(*size, channels)


def _decode(path: Any, file: BinaryIO, size: tuple[int, int], truncated: bool) -> tuple[Any, int]:
    """Decode an image; give it and its orientation.

    Where Pillow fails, the reason may be what the file holds besides pixels; so it gets the file without that.
    """
    try:
        return _load(path, file, size)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers fail in many ways
        first = error
    file.seek(0)
    data = file.read()
    bare = without_metadata(data)
    for partly in (False, True) if truncated else (False,):
        try:
            image, turned = _load(path, io.BytesIO(bare + END_OF_JPEG if partly else bare), size, partly)
        except (DataError, MemoryError):
            raise
        except Exception:
            continue
        return image, orientation_in(exif_of(data)) or turned
    cure = "; truncated=True takes what can be decoded" if "truncated" in str(first) and not truncated else ""
    raise DamagedImageError(
        f"{path}: expected an image; found that it is damaged or none: {first or type(first).__name__}{cure}"
    ) from first


def _load(path: Any, file: BinaryIO, size: tuple[int, int], partly: bool = False) -> tuple[Any, int]:
    """Open and decode an image; or as much of it as can be decoded."""
    image = _open(file)
    late = image.format == "PNG"  # its EXIF block may follow the pixels
    turned = 0 if late else orientation(image)
    _check(path, image, file, size[::-1] if turned < 5 else size)
    try:
        image.load()
    except Exception:
        if not partly:
            raise
        image.tile = []  # nothing more to decode: the pixels are those that there are
        image.load()
    return image, orientation(image) if late else turned


def _check(path: Any, image: Any, file: BinaryIO, wanted: tuple[int, int]) -> None:
    """Refuse what is too large or has too many bits, before its pixels take memory.

    A large JPEG will be decoded at a smaller scale, so that it covers the wanted width and height, as it lies.
    """
    if image.mode[0] in "IF":
        raise DataError(
            f"{path}: expected an image of 8 bits per channel; found Pillow's mode {image.mode}, which has more"
        )
    width, height = image.size
    if width * height <= MAX_PIXELS:
        return
    needed = 0
    if image.format == "JPEG":
        needed = _coefficients(image, file)
        image.draft(None, wanted)
    needed += image.width * image.height * (1 if image.mode in BYTE_MODES else 4)
    if needed > MAX_BYTES:
        raise DataError(
            f"{path}: expected an image that takes at most {MAX_BYTES:,} bytes, decoded; "
            f"found {width:,} x {height:,} pixels, which take {needed:,}"
        )


def _coefficients(image: Any, file: BinaryIO) -> int:
    """How many bytes of coefficients the decoder keeps of a JPEG of several scans, at whatever scale it decodes."""
    at = file.tell()
    file.seek(0)
    components = scan_components(file.read())
    file.seek(at)
    if components == image.layers and not image.info.get("progressive"):
        return 0
    sampled = [across * down for _, across, down, _ in image.layer]
    return 2 * image.width * image.height * sum(sampled) // max(*sampled, 1)


def _opaque(image: Any, mode: str, ground: tuple[int, int, int]) -> Any:
    """An image in gray or colour; on the ground, if it has transparency in whatever form."""
    if image.has_transparency_data:
        image = _on_ground(image, ground)
    if image.mode == "LAB":  # from which Pillow has no way to gray
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _on_ground(image: Any, ground: tuple[int, int, int]) -> Any:
    from PIL import Image

    key = image.info.get("transparency")
    if key is not None and image.mode != "P":
        image.info["transparency"] = _as_pixel(key, image.raw_mode)
    below = Image.new("RGB", image.size, ground)
    above = image if image.mode == "RGBA" else image.convert("RGBA")
    below.paste(above, mask=above)
    return below


def _as_pixel(key: Any, raw_mode: str) -> Any:
    """The transparent colour of a PNG, scaled as Pillow scales its pixels to 8 bits."""
    if raw_mode == "1":
        return 255 if key else 0
    if isinstance(key, tuple):
        return tuple(value >> 8 for value in key) if raw_mode.endswith(";16B") else key
    return key * FULL_SCALE.get(raw_mode, 1)


def _open(file: BinaryIO) -> Any:
    """Open an image for decoding, as Image.open does, but for what its limits and warnings are about: `_check` is ours.

    Pillow's limits are global, so that no thread could change them for itself.
    """
    prefix = file.read(16)
    for reader, accepts in _readers():
        if accepts(prefix):
            file.seek(0)
            image = reader(file, "")
            raw = image.tile[0][3] if image.tile else ""
            image.raw_mode = raw if isinstance(raw, str) else str(raw[0])
            return image
    raise ValueError("no format that is known")


@functools.cache
def _readers() -> tuple[tuple[Any, Any], ...]:
    """Pillow's classes of image files, and the functions that know a file by its first bytes.

    PostScript and others that would run a program are not among them.
    """
    from PIL import (
        BmpImagePlugin,
        GifImagePlugin,
        Image,
        ImageFile,
        JpegImagePlugin,
        PngImagePlugin,
        PpmImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    class Tiff(TiffImagePlugin.TiffImageFile):
        """A TIFF file that is left as it lies, and whose tags of other things are not looked at."""

        load_prepare = ImageFile.ImageFile.load_prepare

        def _open(self) -> None:
            super()._open()
            self._size = getattr(self, "_tile_size", self._size)

        def load_end(self) -> None:
            pass

    readers = {
        "BMP": BmpImagePlugin.BmpImageFile,
        "GIF": GifImagePlugin.GifImageFile,
        "JPEG": JpegImagePlugin.JpegImageFile,  # of an MPO file the first image
        "PNG": PngImagePlugin.PngImageFile,
        "PPM": PpmImagePlugin.PpmImageFile,
        "TIFF": Tiff,
        "WEBP": WebPImagePlugin.WebPImageFile,
    }
    return tuple((reader, Image.OPEN[name][1]) for name, reader in readers.items())


def as_size(who: str, size: Any) -> tuple[int, int]:
    """Height and width."""
    sizes = size if isinstance(size, tuple | list) else (size, size)
    if len(sizes) != 2:
        raise ValueError(f"{who}: size must be an int or (height, width); got {size!r}")
    height, width = (as_integer(who, "size", n, low=1) for n in sizes)
    return height, width


def as_background(who: str, background: Any, channels: int) -> tuple[int, int, int]:
    """The colour of the ground."""
    values = tuple(background) if isinstance(background, tuple | list) else (background,) * channels
    if len(values) != channels:
        raise ValueError(f"{who}: background must be an int or {channels} of them, a channel each; got {background!r}")
    colour = tuple(as_integer(who, "background", value, low=0) for value in values)
    if max(colour) > 255:
        raise ValueError(f"{who}: background must be 0 to 255; got {background!r}")
    red, green, blue = colour if channels == 3 else colour * 3
    return red, green, blue


def need_pillow(who: str) -> None:
    """Raise ImportError, saying how to get it, where Pillow is not installed."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise ImportError(f'{who} needs Pillow: pip install "cnnlayers[images]"') from None


def pillow_version() -> str:
    """Give the version of Pillow: another one may decode to other pixels."""
    import PIL

    return str(PIL.__version__)
