"""A picture's file -> RGB: the one way in which pictures are read, whoever asks."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

MOST_PIXELS = 16_384 * 8_192
"""a large panorama, 400 MB in RGB; a small file of more pixels would fill the memory"""
Image.MAX_IMAGE_PIXELS = MOST_PIXELS
BACKGROUND = "white"
"""what stands behind a transparent picture"""

_ORIENTATION = 0x0112
_TURNS: Mapping[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""orientation in the EXIF -> what turns the picture upright"""
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_RANGES = ((340, 341), (280, 281))
"""tags of a TIFF with its smallest and largest number"""


class PictureError(Exception):
    """A file that is no picture, not a whole one, or of numbers that could mean any shade; says what to do."""

    def __init__(self, what: str, next_step: str) -> None:
        super().__init__(what)
        self.what, self.next_step = what, next_step


def decode(path: Path, draft: bool = False) -> Image.Image:
    """In RGB, decoded to its end, turned as its EXIF says, and what is transparent over white. Raises PictureError.

    `draft`: in the smallest size that the format can decode to; that reads a JPEG to its end in half the time.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if draft:
                    image.draft("RGB", (1, 1))
                image.load()
                turn = _TURNS.get(_orientation(image))
                colours = _in_rgb(image)
                return colours if turn is None else colours.transpose(turn)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise PictureError("has too many pixels, more than a panorama of 16,384 x 8,192", "shrink it") from None
    except (PictureError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL, errno.EOVERFLOW):
            raise PictureError(f"cannot be read ({error.strerror})", "make it readable, or replace it") from None
        # Damaged bytes make decoders raise whatever it may be.
        reason = " ".join(str(error).replace(str(path), "it").split()) or type(error).__name__
        raise PictureError(f"is not a whole picture ({reason})", "replace it") from None


def _orientation(image: Image.Image) -> Any:
    """Of a picture whose EXIF is damaged nobody knows it: the picture is as good without."""
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:
        return None


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return _shades(image).convert("RGB")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, BACKGROUND), seen).convert("RGB")
    return image.convert("RGB")


def _shades(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits in 8: black is the least number that the file can hold, white the largest."""
    import numpy as np  # late: a plan reads no picture

    limits = _range(image)
    if limits is None or not limits[0] < limits[1]:
        raise PictureError(
            f"holds numbers of which nothing says what is black and what is white (mode {image.mode})",
            "save it with 8 or 16 bits per pixel",
        )
    black, white = limits
    numbers = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=black)
    shades = np.clip(np.rint((numbers - black) * (255 / (white - black))), 0, 255).astype(np.uint8)
    if _tags(image).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        shades = 255 - shades
    return Image.fromarray(shades)


def _range(image: Image.Image) -> tuple[float, float] | None:
    """(black, white) in the picture's numbers, if the file's kind or its tags tell."""
    tags = _tags(image)
    if image.mode.startswith("I;"):
        return 0.0, float(2 ** _number(tags.get(_BITS, 16)) - 1)
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return 0.0, 65_535.0
    for least, largest in _RANGES:
        if least in tags and largest in tags:
            return float(_number(tags[least])), float(_number(tags[largest]))
    return None


def _tags(image: Image.Image) -> Mapping[int, Any]:
    """Of a TIFF."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return tags


def _number(value: Any) -> Any:
    """Of a tag with a value for each channel, the first."""
    return value[0] if isinstance(value, tuple) else value
