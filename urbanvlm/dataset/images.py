"""From an image id to a picture, never outside the image folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from PIL import Image

from urbanvlm.dataset.decode import PictureError, decode
from urbanvlm.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


ImageFault = Literal["missing-image", "broken-image", "image-outside"]


class ImageError(UserError):
    """A picture that cannot be had."""

    def __init__(self, fault: ImageFault, where: object, what: str, next_step: str) -> None:
        super().__init__(where, what, next_step)
        self.fault: ImageFault = fault


def stays_inside(image_id: str) -> bool:
    """Is this a relative path that cannot leave the folder it is looked up in, as far as its text tells?"""
    parts = [part for part in image_id.split("/") if part not in ("", ".")]
    has_name = bool(parts) and ".." not in parts
    return has_name and not image_id.startswith("/") and "\0" not in image_id and "\\" not in image_id


def resolve_image(images: Path, image_id: str) -> Path:
    """The picture's file; the extension may be missing in `image_id`.

    Raises UserError if there is none, or if the id or a link would lead out of the folder.
    """
    if not stays_inside(image_id):
        raise ImageError(
            "image-outside", f"image_id {image_id!r}", "is not a path inside the image folder", "mend the row"
        )
    exact = images / image_id
    candidates = [exact, *(exact.with_name(exact.name + suffix) for suffix in SUFFIXES)]
    try:
        found = next((path for path in candidates if path.is_file()), None)
        if found is None:
            raise ImageError("missing-image", exact, "no such picture", f"put it into {images} or mend image_id")
        if not found.resolve().is_relative_to(images.resolve()):
            raise ImageError(
                "image-outside",
                found,
                "is a link that leads out of the image folder",
                "copy the picture into the folder",
            )
    except OSError as error:
        raise ImageError("missing-image", exact, f"cannot be looked up ({error.strerror})", "mend image_id") from None
    return found


def open_image(images: Path, image_id: str) -> Image.Image:
    """The picture in RGB, as `decode` gives it. Raises UserError if there is none, or it is broken."""
    return _read(resolve_image(images, image_id))


def image_faults(image_ids: Iterable[str], images: Path, decode: bool = True) -> Iterator[tuple[int, ImageFault, str]]:
    """(index, what is wrong, in words) of each picture that is missing, outside the folder, or cannot be decoded to its
    end; without `decode` the last is not tried.
    """
    for index, image_id in enumerate(image_ids):
        try:
            path = resolve_image(images, image_id)
            if decode:
                _read(path, draft=True)
        except ImageError as error:
            yield index, error.fault, str(error)


def _read(path: Path, draft: bool = False) -> Image.Image:
    try:
        return decode(path, draft)
    except PictureError as error:
        raise ImageError("broken-image", path, error.what, error.next_step) from None
