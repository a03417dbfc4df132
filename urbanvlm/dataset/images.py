"""From an image id to a picture, never outside the image folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from PIL import Image, ImageOps, UnidentifiedImageError

from urbanvlm.errors import UserError
from urbanvlm.records import Example

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def stays_inside(image_id: str) -> bool:
    """Is this a relative path that cannot leave the folder it is looked up in, as far as its text tells?"""
    path = PurePosixPath(image_id)
    return bool(path.name) and not path.is_absolute() and ".." not in path.parts and not {"\0", "\\"} & set(image_id)


def resolve_image(images: Path, image_id: str) -> Path:
    """The picture's file; the extension may be missing in `image_id`.

    Raises UserError if there is none, or if the id or a link would lead out of the folder.
    """
    if not stays_inside(image_id):
        raise UserError(f"image_id {image_id!r}", "is not a path inside the image folder", "mend the row")
    exact = images / image_id
    candidates = [exact, *(exact.with_name(exact.name + suffix) for suffix in SUFFIXES)]
    try:
        found = next((path for path in candidates if path.is_file()), None)
        if found is None:
            raise UserError(exact, "no such picture", f"put it into {images} or mend image_id")
        if not found.resolve().is_relative_to(images.resolve()):
            raise UserError(found, "is a link that leads out of the image folder", "copy the picture into the folder")
    except OSError as error:
        raise UserError(exact, f"cannot be looked up ({error.strerror})", "mend image_id") from None
    return found


def open_image(images: Path, image_id: str) -> Image.Image:
    """The picture in RGB, fully decoded, turned the way its EXIF orientation says. Raises UserError if it is broken."""
    return _read(resolve_image(images, image_id))


def check_images(examples: Iterable[Example], images: Path) -> None:
    """Raises UserError for the first picture that is missing, outside the folder, or cannot be decoded to its end."""
    for image_id in dict.fromkeys(example.image_id for example in examples):
        _read(resolve_image(images, image_id), draft=True)


def _read(path: Path, draft: bool = False) -> Image.Image:
    """`draft`: in the smallest size that the format can decode to; that reads a JPEG to its end in half the time."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if draft:
                    image.draft("RGB", (1, 1))
                return ImageOps.exif_transpose(image).convert("RGB")
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(path, "has too many pixels to be a photograph", "shrink it") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        reason = " ".join(str(error).replace(str(path), "it").split())
        raise UserError(path, f"is not a whole picture ({reason})", "replace it") from None
