"""Pictures are opened and processed once, as far as memory allows, and always give the same pixels."""

from __future__ import annotations

import pytest
import torch
from model_support import pictures, shared
from PIL.Image import Image

from urbanvlm.errors import UserError
from urbanvlm.models.pixels import Pixels

IMAGES = {str(number): image for number, image in enumerate(pictures(6))}
LOADED = shared("llava", "tiny")
BYTES = 3 * 64 * 64 * 4
"""of one picture"""


class Opened(list[str]):
    """Gives the pictures and remembers which were asked for."""

    def __call__(self, name: str) -> Image:
        self.append(name)
        return IMAGES[name]


def expected(names: str) -> torch.Tensor:
    return LOADED.family.pixels(LOADED, [IMAGES[name] for name in names])


def test_pixels_are_those_of_the_pictures_and_each_is_opened_once() -> None:
    opened = Opened()
    pixels = Pixels(LOADED, opened)
    for names in ("012", "210", "1123", "3", "5044"):
        assert torch.equal(pixels.of(list(names)), expected(names)), names
    assert sorted(opened) == list("012345")


def test_no_more_is_kept_than_allowed() -> None:
    opened = Opened()
    pixels = Pixels(LOADED, opened, most_bytes=2 * BYTES + 1)
    for _ in range(3):
        assert torch.equal(pixels.of(list("01234")), expected("01234"))
    assert sorted(opened) == list("01" + "222333444")


def test_what_is_given_can_be_changed_without_harm() -> None:
    pixels = Pixels(LOADED, Opened())
    pixels.of(list("01")).zero_()
    pixels.of(list("01")).zero_()
    assert torch.equal(pixels.of(list("01")), expected("01"))


def test_an_error_in_opening_passes_through() -> None:
    def broken(name: str) -> Image:
        raise UserError(name, "is not a whole picture")

    with pytest.raises(UserError, match="7: is not a whole picture"):
        Pixels(LOADED, broken).of(["7"])
