"""PIL: an image arrives with its mode, size, palette, `info` and pixels; no larger than the data."""

from __future__ import annotations

import contextlib
import io
from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from actorq import CodecError
from actorq.wire import extensions as ext
from actorq.wire.codec import pack, unpack
from tests.fuzz.making import Maker

MODES = [
    *"1LPIF",
    "LA",
    "PA",
    "La",
    "RGB",
    "RGBA",
    "RGBX",
    "RGBa",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I;16",
    "I;16L",
    "I;16B",
]


def image(mode: str, size: tuple[int, int], seed: int, info: dict[Any, Any]) -> Any:
    made = Image.new(mode, size)
    made.frombytes(Random(seed).randbytes(len(made.tobytes()))) if min(size) else None
    made.info.update(info)
    return made


infos = st.dictionaries(
    st.text(max_size=3), st.integers() | st.binary(max_size=3) | st.tuples(st.integers()), max_size=2
)
images = st.builds(
    image, st.sampled_from(MODES), st.tuples(st.integers(0, 12), st.integers(0, 12)), st.integers(0, 9), infos
)
palettes = st.builds(
    lambda size, kind, colours, seed: palette(image("P", size, seed, {}), kind, colours, seed),
    st.tuples(st.integers(0, 5), st.integers(0, 5)),
    st.sampled_from(["RGB", "RGBA", "CMYK"]),
    st.integers(1, 256),
    st.integers(0, 9),
)


def palette(made: Any, kind: str, colours: int, seed: int) -> Any:
    made.putpalette(Random(seed).randbytes(colours * len(kind)), kind)
    return made


def shown(value: Any) -> Any:
    """All of an image that can be seen."""
    held = value.palette and (
        value.palette.mode,
        bytes(value.palette.palette),
        value.getpalette(None),
        value.palette.colors,
    )
    return type(value), value.mode, value.size, value.info, held, value.tobytes(), dict(value.getexif())


@given(images | palettes)
@settings(max_examples=300, deadline=None)
def test_an_image_arrives_as_it_was(value: Any) -> None:
    back = unpack(pack([value]))[0]
    assert shown(back) == shown(value)
    assert back == value
    if value.mode in ("P", "PA"):
        assert back.convert("RGBA").tobytes() == value.convert("RGBA").tobytes()


def file_of(made: Any, kind: str, **options: Any) -> Any:
    made.save(buffer := io.BytesIO(), kind, **options)
    return Image.open(buffer)


def test_an_image_of_a_file_is_refused_and_its_copy_travels() -> None:
    for kind in ("PNG", "GIF", "JPEG", "TIFF"):
        opened = file_of(image("L", (5, 4), 1, {}), kind)
        with pytest.raises(CodecError, match=r"Pass x\.copy\(\)"):
            pack(opened)
        assert shown(unpack(pack(opened.copy()))) == shown(opened.copy())


def test_exif_data_travel_as_far_as_info_has_them() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    made = file_of(image("RGB", (5, 4), 1, {}), "JPEG", exif=exif).copy()
    assert made.getexif()[0x0112] == 6
    assert unpack(pack(made)).getexif()[0x0112] == 6
    made.getexif()[0x010E] = "new"
    with pytest.raises(CodecError, match=r"info\['exif'\]"):
        pack(made)
    made.info["exif"] = made.getexif().tobytes()
    assert unpack(pack(made)).getexif()[0x010E] == "new"


def test_what_is_not_carried_is_refused_with_what_to_do() -> None:
    noted: Any = image("L", (2, 2), 1, {})
    noted.note = 1
    held = image("L", (2, 2), 1, {"key": object()})
    for value, match in ((noted, "'note'.*info"), (held, "object"), (Image.new("L", (0, 10**5)), "size")):
        with pytest.raises(CodecError, match=match):
            pack(value)


def as_image(plain: Any) -> bytes:
    message = pack(plain)
    return bytes(msgpack.packb(msgpack.ExtType(ext.IMAGE, len(message).to_bytes(4, "little") + message)))


@pytest.mark.parametrize(
    "plain",
    [
        ["L", [100_000, 100_000], None, {}, b"abcd"],
        ["L", [0, 2**31], None, {}, b""],
        ["L", [-2, -2], None, {}, b"abcd"],
        ["L", [2, 2], None, {}, b"abc"],
        ["L", [2.0, 2], None, {}, b"abcd"],
        ["L", [2], None, {}, b"abcd"],
        ["BGR;15", [2, 1], None, {}, b"abcd"],
        ["L", [2, 2], None, [], b"abcd"],
        ["L", [2, 2], ["RGB", b"abc"], {}, b"abcd"],
        ["P", [2, 2], ["RGB", b"abc" * 257], {}, b"abcd"],
        ["P", [2, 2], ["L", b"abc"], {}, b"abcd"],
        ["P", [2, 2], ["RGB", 5], {}, b"abcd"],
        [["L"], [2, 2], None, {}, b"abcd"],
        5,
    ],
    ids=lambda plain: str(plain)[:50],
)
def test_data_of_what_is_none_is_refused(plain: Any) -> None:
    with pytest.raises(CodecError):
        unpack(as_image(plain))


@given(images | palettes, st.integers())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_data_is_a_value_or_an_error(value: Any, seed: int) -> None:
    damaged = Maker(Random(seed)).damaged(pack(value))
    with contextlib.suppress(CodecError):
        back = unpack(damaged)
        if isinstance(back, Image.Image):
            back.tobytes()
