"""Which place a picture shows, as far as its name tells."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

PICTURE_ENDINGS = frozenset("jpg jpeg png webp tif tiff bmp gif avif heic heif jp2 ppm pgm".split())
"""after the last dot they are no part of a name; any other dot is one, as in a coordinate"""
UNTOLD = (
    "neither `place` nor the name tells of which place they are, so each is a place of its own; write `place` into the "
    "rows where several show one place, or neighbouring ones, as intervals and splits go by places"
)
"""what becomes of pictures of which nothing is known"""
_HEADING = re.compile(r"(.+)_heading[0-9]+(?:\.[0-9]+)?", re.DOTALL)
_STEP_DEGREES = 15
"""views are cut out of a panorama at whole parts of a circle; frames of a video are numbered one by one"""


def place_of(image_id: str, panoramas: Collection[str] = ()) -> str:
    """The place of a picture: the name without `_heading<degrees>`, or the folder of a panorama, or the name itself.

    The folder is part of the place, the extension is none. `panoramas`: what `panorama_folders` says of all names.
    """
    folder, stem = _parts(image_id)
    if folder in panoramas and _is_bare_heading(stem):
        return folder
    told = _HEADING.fullmatch(stem)
    name = told[1] if told is not None else stem
    return f"{folder}/{name}" if folder else name


def tells_place(image_id: str, panoramas: Collection[str]) -> bool:
    """Does the name say of which place the picture is? If not, the picture is a place of its own."""
    folder, stem = _parts(image_id)
    return _HEADING.fullmatch(stem) is not None or (folder in panoramas and _is_bare_heading(stem))


def is_view(image_id: str) -> bool:
    """Could it be `<panorama>/<degrees>.jpg`? Only the names beside it in its folder tell."""
    folder, stem = _parts(image_id)
    return bool(folder) and _is_bare_heading(stem)


def panorama_folders(image_ids: Iterable[str]) -> frozenset[str]:
    """Folders that hold nothing but bare headings, such as `0.jpg` and `90.jpg`: the views of one panorama each."""
    found: set[str] = set()
    others: set[str] = set()
    for image_id in image_ids:
        folder, stem = _parts(image_id)
        (found if folder and _is_bare_heading(stem) else others).add(folder)
    return frozenset(found - others)


def parted_panoramas(names: Collection[str], others: Collection[str]) -> frozenset[str]:
    """Folders that are a panorama by the names of one split, and hold more than its views by those of the other.

    Not where a picture has any other number, as then they are the frames of a video or simply numbered.
    """
    parted = panorama_folders(names) ^ panorama_folders(others)
    if not parted:
        return parted
    parts = [{_parts(name) for name in split} for split in (names, others)]
    in_both = set.intersection(*({folder for folder, _ in split} for split in parts))
    numbered = {folder for folder, stem in set.union(*parts) if stem.isdigit() and not _is_bare_heading(stem)}
    return (parted & in_both) - numbered


def _parts(image_id: str) -> tuple[str, str]:
    """(folder, name without extension), in one Unicode form, so that two ways to write a path are one place."""
    path = image_id if image_id.isascii() else unicodedata.normalize("NFC", image_id)
    if "/" in path:
        path = "/".join(part for part in path.split("/") if part not in ("", "."))
    folder, _, name = path.rpartition("/")
    stem, _, ending = name.rpartition(".")
    return folder, stem if stem and ending.lower() in PICTURE_ENDINGS else name


def _is_bare_heading(stem: str) -> bool:
    if not (stem.isascii() and stem.isdigit() and len(stem) <= 3):
        return False
    return int(stem) < 360 and int(stem) % _STEP_DEGREES == 0
