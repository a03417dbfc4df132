"""Pictures of every kind that files hold: read rightly, or refused with the way out, the same way everywhere."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from urbanvlm.dataset.audit import audit
from urbanvlm.dataset.decode import PictureError, decode
from urbanvlm.dataset.images import image_faults, open_image
from urbanvlm.dataset.scan import scan
from urbanvlm.errors import UserError

LEVELS = [0, 257, 128 * 257, 254 * 257, 65_535]
SHADES = [0, 1, 128, 254, 255]


def shades(path: Path) -> list[int]:
    picture = decode(path)
    assert picture.mode == "RGB"
    pixels = [picture.getpixel((x, 0)) for x in range(picture.width)]
    assert all(isinstance(pixel, tuple) and len(set(pixel)) == 1 for pixel in pixels), "grey has three equal channels"
    return [pixel[0] for pixel in pixels]  # type: ignore[index]


@pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
def test_16_bits_of_grey_become_8(tmp_path: Path, name: str) -> None:
    Image.fromarray(np.array([LEVELS] * 2, dtype=np.uint16)).save(tmp_path / name)
    assert shades(tmp_path / name) == SHADES


def test_16_bits_of_a_portable_map(tmp_path: Path) -> None:
    header = f"P5 {len(LEVELS)} 1 65535\n".encode()
    (tmp_path / "grey.pgm").write_bytes(header + np.array(LEVELS, dtype=">u2").tobytes())
    assert shades(tmp_path / "grey.pgm") == SHADES


def tiff(path: Path, numbers: np.ndarray, **tags: float) -> Path:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        number = {"least": 340, "largest": 341}[name]
        info.tagtype[number] = 12
        info[number] = value
    Image.fromarray(numbers).save(path, tiffinfo=info)
    return path


@pytest.mark.parametrize(
    "numbers", [np.array([[0, 1, 2, 4]] * 2, dtype=np.int32), np.array([[-1.0, 1.0, 2.0, np.nan]] * 2, np.float32)]
)
def test_numbers_without_a_range_are_refused_and_with_one_are_read(tmp_path: Path, numbers: np.ndarray) -> None:
    path = tiff(tmp_path / "a.tif", numbers)
    with pytest.raises(PictureError, match="nothing says what is black and what is white"):
        decode(path)
    (index, code, words), *more = image_faults(["a.tif"], tmp_path)
    assert (index, code, more) == (0, "broken-image", []) and "save it with 8 or 16 bits" in words
    with pytest.raises(UserError, match=r"a\.tif: holds numbers"):
        open_image(tmp_path, "a.tif")
    found = shades(tiff(path, numbers, least=0.0, largest=4.0))
    assert found == ([0, 64, 128, 255] if numbers.dtype == np.int32 else [0, 64, 128, 0])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_what_is_transparent_stands_over_white(tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (0, 0, 0, 255))
    if mode in ("RGBA", "LA"):
        picture.putpixel((2, 0), (0, 0, 0, 128))
    name = "a.tif" if mode == "PA" else "a.png"
    (picture if mode == "PA" else picture.convert(mode)).save(tmp_path / name)
    assert shades(tmp_path / name)[:2] == [255, 0]
    assert shades(tmp_path / name)[2] == (127 if mode in ("RGBA", "LA") else 255)


def test_a_colour_that_stands_for_transparent(tmp_path: Path) -> None:
    Image.new("RGB", (2, 1), (9, 9, 9)).save(tmp_path / "a.png", transparency=(9, 9, 9))
    assert shades(tmp_path / "a.png") == [255, 255]


@pytest.mark.parametrize(
    "damage", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x09" + b"\1" * 90]
)
def test_damaged_exif_is_no_matter(tmp_path: Path, damage: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (4, 2), "white").save(tmp_path / "a.jpg", exif=damage)
    assert decode(tmp_path / "a.jpg").size == (4, 2)
    assert capfd.readouterr() == ("", "")


def test_an_orientation_that_is_none(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    Image.new("RGB", (4, 2), "white").save(tmp_path / "a.jpg", exif=exif)
    assert decode(tmp_path / "a.jpg").size == (4, 2)


def test_a_panorama_is_read(tmp_path: Path) -> None:
    """Of the largest size; validation decodes a JPEG to an eighth of it, which needs little memory."""
    Image.new("L", (16_384, 8_192), 200).save(tmp_path / "panorama.jpg")
    assert list(image_faults(["panorama"], tmp_path)) == []


def test_validation_sees_what_training_would(tmp_path: Path) -> None:
    tiff(tmp_path / "a.tif", np.zeros((2, 2), np.float32))
    row = '{"image_id": "a.tif", "question": "A car?", "answer": "No", "qtype": "x", "subtype": "presence.binary"}\n'
    (tmp_path / "rows.jsonl").write_text(row)
    (one,) = audit(scan(tmp_path / "rows.jsonl"), images=tmp_path).findings
    assert (one.code, one.severity) == ("broken-image", "error")


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_what_the_disk_refuses_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(path: Path) -> Image.Image:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("urbanvlm.dataset.decode.Image.open", refuse)
    with pytest.raises(PictureError) as error:
        decode(tmp_path / "a.jpg")
    assert error.value.what == f"cannot be read ({os.strerror(number)})"
