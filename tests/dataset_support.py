"""Metadata records that could be of street scenes, for tests that need many of them and no pictures."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from urbanvlm.records import Metadata

OBJECTS = ("bench", "bicycle", "bus", "car", "person", "stop sign", "traffic light", "tree", "truck")
SIDES = ("left side", "right side", "even")


def random_metadata(place: str, heading: int, seed: int = 0) -> Metadata:
    chance = Random(f"{seed}/{place}/{heading}")
    objects = {name: chance.randint(1, 7) for name in OBJECTS if chance.random() < 0.5}
    shares = [chance.choice((0.0, 0.125, 0.2, 0.3, 0.35, 0.4, 0.5, 1.0, chance.random())) for _ in range(3)]
    depths = {name: round(chance.choice((7.5, chance.uniform(2, 60))), 6) for name in [*objects, "building"]}
    top = chance.choice(("sky", "sky", "building", "tree"))
    return Metadata(
        image_id=f"{place}_heading{heading}.jpg",
        place=place,
        objects=objects,
        view_factors=dict(zip(("building", "greenery", "sky"), shares, strict=True)),
        depth_range=chance.choice((0.0, 20.0, 40.0, chance.uniform(0, 90))),
        closest_object=min(objects, key=lambda name: depths[name], default=None),
        depth_per_class=depths,
        foreground={name: depth < 5 for name, depth in depths.items()},
        background={name: depth > 10 for name, depth in depths.items()},
        depth_order={name: depths[name] for name in objects},
        spatial_distribution={name: chance.choice(SIDES) for name in objects},
        top_entity=top,
        top_sky=top == "sky",
        skyline_clear=chance.random() < 0.5,
        occlusion_pairs={f"{a}|{b}": chance.random() < 0.5 for a in objects for b in objects if a != b},
        raw_objects=(),
    )


def many_metadata(places: int, seed: int = 0) -> list[Metadata]:
    names = [f"image_{place:06d}" for place in range(places)]
    return [random_metadata(name, heading, seed) for name in names for heading in (0, 90, 180, 270)]


def write_metadata(folder: Path, records: list[Metadata]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record.to_json()) + "\n" for record in records]
    (folder / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
