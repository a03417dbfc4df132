"""What the vision tower reads of pictures that are asked about again and again, kept as far as memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from PIL.Image import Image
from torch import Tensor

from urbanvlm.models.family import LoadedModel

MOST_BYTES = 256 * 2**20
"""5,400 pictures of a tiny model, 190 of a large one with 336 pixels"""


class Pixels:
    """Pictures by their name, opened and processed when they are first asked for."""

    def __init__(self, loaded: LoadedModel, opened: Callable[[str], Image], most_bytes: int = MOST_BYTES) -> None:
        """`opened` gives the picture of a name; its errors pass through."""
        self._loaded, self._opened, self._bytes_left = loaded, opened, most_bytes
        self._kept: dict[str, Tensor] = {}

    def of(self, names: Sequence[str]) -> Tensor:
        """float32 (B, 3, H, W), in the order of the names: what `ModelFamily.pixels` makes of these pictures."""
        missing = [name for name in dict.fromkeys(names) if name not in self._kept]
        made = self._loaded.family.pixels(self._loaded, [self._opened(name) for name in missing]) if missing else ()
        new = dict(zip(missing, made, strict=True))
        for name, pixels in new.items():
            # Nothing is ever put out: in a random order one picture is as likely to be asked for as another.
            if pixels.nbytes <= self._bytes_left:
                self._bytes_left -= pixels.nbytes
                # A copy: a part of the batch would keep all of it in memory.
                self._kept[name] = pixels.clone()
        return torch.stack([new[name] if name in new else self._kept[name] for name in names])
