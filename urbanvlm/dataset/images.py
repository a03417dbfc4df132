"""From an image id to a picture; the id itself never leads out of the image folder."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from PIL import Image

from urbanvlm.dataset.decode import PictureError, decode
from urbanvlm.errors import UserError, missing_file, quoted

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_CAPITALS = tuple(suffix.upper() for suffix in SUFFIXES)
Listings = dict[Path, Mapping[str, list[str]]]

ImageFault = Literal["missing-image", "broken-image", "image-outside", "linked-image"]


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


def resolve_image(images: Path, image_id: str, listings: Listings | None = None) -> Path:
    """The picture's file. In `image_id` the extension may be missing or in other capitals, and its letters may be
    composed otherwise, as é may be written in two ways.

    `listings` keeps what folders hold, for whoever looks up many. Raises UserError if there is no such picture, or if
    the id would lead out of the folder.
    """
    if not stays_inside(image_id):
        raise ImageError(
            "image-outside", f"image_id {quoted(image_id)}", "is not a path inside the image folder", "mend the row"
        )
    exact = images / image_id
    candidates = [exact, *(exact.with_name(exact.name + suffix) for suffix in (*SUFFIXES, *_CAPITALS))]
    try:
        found = [path for path in candidates if path.is_file()][:1] or _alike(images, image_id, listings)
    except OSError as error:
        raise ImageError("missing-image", exact, f"cannot be looked up ({error.strerror})", "mend image_id") from None
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ImageError("missing-image", exact, f"could be any of {names}", "write image_id as one of them")
    if not found:
        what = missing_file(exact, "no such picture")
        raise ImageError("missing-image", exact, what, f"put it into {images} or mend image_id")
    return found[0]


def _alike(images: Path, image_id: str, listings: Listings | None) -> list[Path]:
    """Files that only capitals of the extension, or the form of letters, tell from the id."""
    listings = {} if listings is None else listings
    *folders, name = [part for part in image_id.split("/") if part not in ("", ".")]
    folder = images
    for part in folders:
        if (folder / part).is_dir():
            folder /= part
            continue
        same = _names(folder, listings).get(_key(part), [])
        if len(same) != 1:
            return []
        folder /= same[0]
    names = _names(folder, listings)
    return [path for path in (folder / same for same in names.get(_key(name), ())) if path.is_file()]


def _names(folder: Path, listings: Listings) -> Mapping[str, list[str]]:
    """Key of a name, with and without its extension -> the names that have it."""
    if folder not in listings:
        found: dict[str, list[str]] = {}
        for name in sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ():
            for key in {_key(name), _key(name.removesuffix(_suffix(name)))}:
                found.setdefault(key, []).append(name)
        listings[folder] = found
    return listings[folder]


def _key(name: str) -> str:
    suffix = _suffix(name)
    return unicodedata.normalize("NFC", name.removesuffix(suffix)) + suffix.lower()


def _suffix(name: str) -> str:
    """As it is written; empty if it is none of a picture."""
    return next((name[-len(suffix) :] for suffix in SUFFIXES if name.lower().endswith(suffix)), "")


def leads_out(path: Path, images: Path) -> bool:
    """Do links lead from the folder to this picture?"""
    return not path.resolve().is_relative_to(images.resolve())


def open_image(images: Path, image_id: str) -> Image.Image:
    """The picture in RGB, as `decode` gives it. Raises UserError if there is none, or it is broken."""
    return _read(resolve_image(images, image_id))


def image_faults(image_ids: Iterable[str], images: Path, decode: bool = True) -> Iterator[tuple[int, ImageFault, str]]:
    """(index, what is wrong, in words) of each picture that is missing, behind a link that leads out of the folder, or
    cannot be decoded to its end; without `decode` the last is not tried.
    """
    listings: Listings = {}
    for index, image_id in enumerate(image_ids):
        try:
            path = resolve_image(images, image_id, listings)
            if leads_out(path, images):
                yield index, "linked-image", f"{path}: is reached over a link that leads out of the image folder"
            if decode:
                _read(path, draft=True)
        except ImageError as error:
            yield index, error.fault, str(error)


def _read(path: Path, draft: bool = False) -> Image.Image:
    try:
        return decode(path, draft)
    except PictureError as error:
        raise ImageError("broken-image", path, error.what, error.next_step) from None
