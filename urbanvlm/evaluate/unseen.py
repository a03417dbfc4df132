"""What a model is shown in place of the picture when it is to answer without seeing it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from random import Random

from PIL import Image

from urbanvlm.errors import UserError
from urbanvlm.records import Example

GREY = (128, 128, 128)


def blank(image: Image.Image) -> Image.Image:
    """An even grey picture of the same size."""
    return Image.new("RGB", image.size, GREY)


def shuffled_images(examples: Iterable[Example], seed: int) -> dict[str, str]:
    """image_id -> the image_id of another place; depends on the seed, the images and their places alone.

    Each place takes the pictures of the next one in a random cycle of all places, in an order that is random within
    the place: pictures of one heading must not meet again. Where the next place has fewer, they are shown more than
    once; where all places have as many, every picture is shown as often as it is asked about.

    Raises UserError where there is only one place, or an image is said to be of two.
    """
    places = _places(examples)
    if len(places) < 2:
        raise UserError(
            "evaluate.images: shuffled",
            f"shows pictures of other places, and all that is asked is of one, {next(iter(places), 'none')}",
            "ask about more places, or use blank",
        )
    cycle = sorted(places)
    Random(f"{seed}/shuffled places").shuffle(cycle)  # noqa: S311
    pictures = {place: sorted(images) for place, images in places.items()}
    for place, images in pictures.items():
        Random(f"{seed}/shuffled images/{place}").shuffle(images)  # noqa: S311
    return {
        image: pictures[after][position % len(pictures[after])]
        for place, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True)
        for position, image in enumerate(pictures[place])
    }


def _places(examples: Iterable[Example]) -> Mapping[str, set[str]]:
    """place -> its images."""
    place_of: dict[str, str] = {}
    places: defaultdict[str, set[str]] = defaultdict(set)
    for example in examples:
        place = place_of.setdefault(example.image_id, example.place)
        if place != example.place:
            raise UserError(
                f"example {example.id}",
                f"says that {example.image_id} is of place {example.place}, another row says {place}",
                "mend the rows",
            )
        places[place].add(example.image_id)
    return places
