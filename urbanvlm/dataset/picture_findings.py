"""What is wrong with the pictures that a question file asks about, and with the places they show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from urbanvlm.dataset.findings import CODES, Finding, finding
from urbanvlm.dataset.images import image_faults
from urbanvlm.dataset.places import UNTOLD, parted_panoramas
from urbanvlm.dataset.scan import Scan
from urbanvlm.errors import quoted


def place_findings(data: Scan, train: Scan | None) -> Iterator[Finding]:
    """Places that the training split shows too; pictures of whose place nothing tells."""
    if train is not None:
        yield from _shared_places(data, train)
    if (count := len(data.untold)) > 1:
        faults = sorted((number, quoted(name)) for name, number in data.untold.items())
        message = f"{count} of {len(data.images)} pictures: {UNTOLD}"
        yield finding("untold-places", data.file, count, message, faults)


def _shared_places(data: Scan, train: Scan) -> Iterator[Finding]:
    shared = {place: train.places[place] for place in data.places if place in train.places}
    for folder in parted_panoramas(data.images, train.images):
        there = [number for place, number in train.places.items() if _is_of(place, folder)]
        shared |= {place: min(there) for place in data.places if there and _is_of(place, folder)}
    if shared:
        faults = [
            (data.places[place], f"place {quoted(place)} is also in {train.file.where(number)}")
            for place, number in shared.items()
        ]
        message = f"{len(shared)} of {len(data.places)} places are in {train.file.path} too"
        yield finding("shared-places", data.file, len(shared), message, faults)


def _is_of(place: str, folder: str) -> bool:
    return folder in (place, place.rpartition("/")[0])


def image_findings(data: Scan, images: Path, decode: bool) -> Iterator[Finding]:
    """Pictures that cannot be had from the folder. `decode`: are they read to their end, or only looked up?"""
    found: dict[str, list[tuple[int, str]]] = {}
    for index, code, what in image_faults(data.images, images, decode):
        found.setdefault(code, []).append((index, what))
    _, first_row = np.unique(data.columns.image_of, return_index=True)
    for fault, faults in found.items():
        places = ((int(data.columns.numbers[first_row[index]]), what) for index, what in faults)
        count = int(np.isin(data.columns.image_of, [index for index, _ in faults]).sum())
        pictures = f"{len(faults)} picture{'s' if len(faults) > 1 else ''} of {count} row{'s' if count > 1 else ''}"
        yield finding(fault, data.file, len(faults), f"{pictures}: {CODES[fault].meaning}", places)
