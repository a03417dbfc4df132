"""A labelled sheet of scenes: `python -m urbanvlm.scenes OUT.png [--size 256] [--places 4] [--first 0] [--seed 0]`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from urbanvlm.records import Metadata
from urbanvlm.scenes.block import build_block
from urbanvlm.scenes.labels import metadata_of
from urbanvlm.scenes.render import render_view
from urbanvlm.scenes.sample import sample_place
from urbanvlm.terminal import use_plain_signs
from urbanvlm.user import settle_user

HEADINGS = (0, 90, 180, 270)
TILE, CAPTION = 256, 62


def main() -> None:
    use_plain_signs()
    settle_user(os.environ)
    parser = argparse.ArgumentParser(prog="python -m urbanvlm.scenes", description=__doc__)
    parser.add_argument("out", type=Path, help="picture to write")
    parser.add_argument("--size", type=int, default=256, help="pixels of a view; small ones are shown enlarged")
    parser.add_argument("--places", type=int, default=4, help="rows of the sheet")
    parser.add_argument("--first", type=int, default=0, help="number of the first place")
    parser.add_argument("--seed", type=int, default=0, help="the experiment's seed")
    options = parser.parse_args()
    tile = max(TILE, options.size)
    sheet = Image.new("RGB", (tile * len(HEADINGS), (tile + CAPTION) * options.places), "white")
    for row in range(options.places):
        place = sample_place(options.first + row, options.seed)
        block = build_block(place)
        for column, heading in enumerate(HEADINGS):
            view = render_view(block, place.camera(heading), options.size)
            picture = Image.fromarray(view.rgb).resize((tile, tile), Image.Resampling.NEAREST)
            corner = (column * tile, row * (tile + CAPTION))
            sheet.paste(picture, corner)
            strip = Image.new("RGB", (tile - 3, CAPTION), "white")
            words = caption(metadata_of(view, f"{place.name}_heading{heading}", place.name))
            font = ImageFont.load_default(10)
            ImageDraw.Draw(strip).multiline_text((3, 2), words, "black", font, spacing=2)
            sheet.paste(strip, (corner[0], corner[1] + tile))
    sheet.save(options.out)


def caption(metadata: Metadata) -> str:
    """The labels in four short lines."""
    counts = ", ".join(f"{count} {name}" for name, count in metadata.objects.items()) or "no objects"
    shares = ", ".join(f"{name} {share:.2f}" for name, share in metadata.view_factors.items())
    sides = ", ".join(f"{name} {side.split()[0]}" for name, side in metadata.spatial_distribution.items())
    skyline = "skyline" if metadata.skyline_clear else "no skyline"
    depth = (
        f"range {metadata.depth_range:.0f} m, closest {metadata.closest_object}, top {metadata.top_entity}, {skyline}"
    )
    return "\n".join([counts, shares, depth, sides])


if __name__ == "__main__":
    main()
