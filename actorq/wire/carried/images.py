"""PIL: images in memory.

The one idea: the pixels as bytes, which are as many as the size and the mode say: an image may not be larger than the
data. A file that was opened is another type, which reads more when it is asked: `x.copy()` is what was read. No format
of files is decoded here.
"""

from __future__ import annotations

import importlib
from typing import Any

from actorq.errors import CodecError
from actorq.wire import extensions as ext
from actorq.wire.carried.outside import outside
from actorq.wire.carried.standard import Encoded, Encoder

_NONE = "The data holds an image of PIL that is none."
_SHOWN = 200
#: bits that a pixel has in the bytes of an image, by its mode
_BITS = {
    "1": 1,
    **dict.fromkeys(("L", "P"), 8),
    **dict.fromkeys(("LA", "PA", "La", "I;16", "I;16L", "I;16B"), 16),
    **dict.fromkeys(("RGB", "YCbCr", "LAB", "HSV"), 24),
    **dict.fromkeys(("RGBA", "RGBX", "RGBa", "CMYK", "I", "F"), 32),
}
_WITH_PALETTE = ("P", "PA")
#: of an image without pixels a side: PIL keeps 8 bytes for each row, which then are in no proportion to the data
_LONGEST_EMPTY = 1 << 12
#: what an image has beside what is carried; some of it `save` leaves behind
_OWN = frozenset({"palette", "info", "readonly", "encoderinfo", "encoderconfig"})


def _library() -> Any:
    try:
        return importlib.import_module("PIL.Image")  # a fixed name, not one from the data
    except ImportError:
        raise CodecError("The data holds an image, and pillow is not installed here: install it.") from None


def _bytes_of(mode: str, size: tuple[int, int]) -> int:
    width, height = size
    if not width * height and max(size) > _LONGEST_EMPTY:
        raise CodecError(f"An image of {width} x {height} pixels is not carried: pass its size.")
    return (width * _BITS[mode] + 7) // 8 * height


def _image(image: Any) -> Encoded:
    if image.mode not in _BITS:
        raise CodecError(f"An image of mode {image.mode!r:.{_SHOWN}} is not carried: pass x.convert('RGBA').")
    for name in vars(image):
        if not name.startswith("_") and name not in _OWN:
            raise CodecError(f"An image with an attribute {name!r:.{_SHOWN}} is not carried: put it into x.info.")
    _check_exif(image)
    image.load()  # puts in place a palette that was set
    data = image.tobytes()
    if len(data) != _bytes_of(image.mode, image.size):
        raise CodecError(f"An image of mode {image.mode} is not carried: pass x.convert('RGBA').")
    return ext.IMAGE, [image.mode, list(image.size), _plain_palette(image), dict(image.info), outside(data)]


def _check_exif(image: Any) -> None:
    """Raises `CodecError` where something was written into the Exif data, which are read from `info`."""
    if (now := image._exif) is None:
        return
    other = _library().new("1", (1, 1))
    other.info = image.info
    read = other.getexif()
    if dict(now) != dict(read) or any(now.get_ifd(part) != read.get_ifd(part) for part in list(now._ifds)):
        raise CodecError("The Exif data of an image were changed: do x.info['exif'] = x.getexif().tobytes().")


def _plain_palette(image: Any) -> list[Any] | None:
    palette = image.palette
    if palette is None or (image.mode in _WITH_PALETTE and not len(palette.palette)):
        return None
    if image.mode not in _WITH_PALETTE:
        raise CodecError(f"An image of mode {image.mode} with a palette is not carried: pass x.convert('P').")
    return [palette.mode, bytes(palette.palette)]


def _decode(plain: Any) -> Any:
    mode, size, palette, info, data = plain
    if mode not in _BITS or type(info) is not dict or not isinstance(data, (bytes, memoryview)):
        raise CodecError(_NONE)
    width, height = size
    if type(width) is not int or type(height) is not int or min(size) < 0:
        raise CodecError(_NONE)
    if len(data) != _bytes_of(mode, (width, height)):
        raise CodecError(_NONE)
    image = _library().frombytes(mode, (width, height), bytes(data))
    if palette is not None:
        _put_palette(image, *palette)
    image.info = info
    return image


def _put_palette(image: Any, kind: Any, colours: Any) -> None:
    if image.mode not in _WITH_PALETTE or kind not in ("RGB", "RGBA", "CMYK") or not isinstance(colours, bytes):
        raise CodecError(_NONE)
    if not 0 < len(colours) <= 256 * len(kind):
        raise CodecError(_NONE)
    image.palette = importlib.import_module("PIL.ImagePalette").ImagePalette(kind, bytearray(colours))
    image.palette.dirty = 1
    image.load()


def encoder(kind: type) -> Encoder | None:
    """What encodes values of exactly this type."""
    return _image if kind is _library().Image else None


DECODERS = {ext.IMAGE: _decode}
