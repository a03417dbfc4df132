"""Every label recounted pixel by pixel from the maps, in the words of the contract; and how the answers vary."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from urbanvlm.experiment import Thresholds
from urbanvlm.records import Metadata
from urbanvlm.scenes.block import build_block
from urbanvlm.scenes.classes import CLASSES, COUNTABLE
from urbanvlm.scenes.labels import THRESHOLDS_USED, metadata_of
from urbanvlm.scenes.render import View, min_pixels, render_view
from urbanvlm.scenes.sample import sample_place

HEADINGS = (0, 90, 180, 270)
PLACES = 18
OTHER_LINES = Thresholds(
    foreground_m=3.5, background_m=14, left_share=0.7, right_share=0.35, top_rows_share=0.35, skyline_columns_share=0.7
)


@pytest.fixture(scope="module")
def scenes() -> list[tuple[View, Metadata]]:
    rows = []
    for number in range(PLACES):
        place = sample_place(number, seed=8)
        block = build_block(place)
        for heading in HEADINGS:
            view = render_view(block, place.camera(heading), 64)
            rows.append((view, metadata_of(view, f"{place.name}_heading{heading}.png", place.name)))
    return rows


def recount(view: View, lines: Thresholds) -> dict[str, object]:
    """The labels from plain lists of pixels: (row, column, class, instance, depth)."""
    height, width = view.class_map.shape
    pixels = [
        (r, c, CLASSES[view.class_map[r, c]], int(view.instance_map[r, c]), float(view.depth[r, c]))
        for r in range(height)
        for c in range(width)
    ]
    by_class: dict[str, list] = {}
    boxes: dict[int, list] = {}
    for r, c, name, instance, depth in pixels:
        by_class.setdefault(name, []).append((r, c, depth))
        if instance:
            boxes.setdefault(instance, [name, c, r, c, r])
            box = boxes[instance]
            box[1:] = [min(box[1], c), min(box[2], r), max(box[3], c), max(box[4], r)]
    objects = {name: cells for name, cells in by_class.items() if name in COUNTABLE}
    solid = sorted(depth for _, _, name, _, depth in pixels if name != "sky")
    top = Counter(name for r, _, name, _, _ in pixels if r < int(lines.top_rows_share * height))
    sides = {}
    for name, cells in objects.items():
        left = sum(c < width / 2 for _, c, _ in cells) / len(cells)
        sides[name] = "left side" if left > lines.left_share else "right side" if left < lines.right_share else "even"
    skyline = 0
    for c in range(width):
        column = [CLASSES[i] for i in view.class_map[:, c]]
        below = next((name for name in column if name != "sky"), None)
        skyline += column[0] == "sky" and below == "building"
    return {
        "objects": Counter(box[0] for box in boxes.values()),
        "greenery": sum(len(by_class.get(n, [])) for n in ("grass", "vegetation", "tree")) / (height * width),
        "sky": len(by_class.get("sky", [])) / (height * width),
        "building": len(by_class.get("building", [])) / (height * width),
        "range": float(np.percentile(solid, 95) - np.percentile(solid, 5)),
        "closest": min(objects, key=lambda n: min(d for _, _, d in objects[n]), default=None),
        "means": {n: sum(d for _, _, d in cells) / len(cells) for n, cells in by_class.items() if n != "sky"},
        "near": {n: any(d < lines.foreground_m for _, _, d in cells) for n, cells in by_class.items() if n != "sky"},
        "far": {n: any(d > lines.background_m for _, _, d in cells) for n, cells in by_class.items() if n != "sky"},
        "sides": sides,
        "top": top,
        "skyline": skyline >= lines.skyline_columns_share * width,
        "boxes": Counter((b[0], b[1], b[2], b[3] + 1, b[4] + 1) for b in boxes.values()),
    }


@pytest.mark.parametrize("lines", [Thresholds(), OTHER_LINES], ids=["default", "other"])
def test_every_label_can_be_recounted_from_the_maps(scenes: list[tuple[View, Metadata]], lines: Thresholds) -> None:
    for view, default in scenes[::3]:
        metadata = metadata_of(view, default.image_id, default.place, lines)
        counted = recount(view, lines)
        assert metadata.objects == counted["objects"]
        for factor in ("greenery", "sky", "building"):
            assert metadata.view_factors[factor] == pytest.approx(counted[factor], abs=1e-6)
        assert metadata.depth_range == pytest.approx(counted["range"], abs=1e-5)
        assert metadata.closest_object == counted["closest"]
        assert dict(metadata.depth_per_class) == pytest.approx(counted["means"], abs=1e-5)
        assert metadata.foreground == counted["near"]
        assert metadata.background == counted["far"]
        assert metadata.depth_order == {n: metadata.depth_per_class[n] for n in metadata.objects}
        assert metadata.spatial_distribution == counted["sides"]
        top = counted["top"]
        assert isinstance(top, Counter)
        assert top[metadata.top_entity] == max(top.values())
        assert metadata.top_sky == (metadata.top_entity == "sky")
        assert metadata.skyline_clear == counted["skyline"]
        assert Counter((o.label, *o.box) for o in metadata.raw_objects) == counted["boxes"]


def test_occlusion_pairs_name_all_pairs_of_objects_and_agree_with_the_hidden_pixels(
    scenes: list[tuple[View, Metadata]],
) -> None:
    for view, metadata in scenes:
        label = {int(i): CLASSES[view.class_map[view.instance_map == i][0]] for i in np.unique(view.instance_map) if i}
        expected = {f"{a}|{b}": False for a in metadata.objects for b in metadata.objects if a != b}
        for (a, b), pixels in view.hidden.items():
            if label[a] != label[b] and pixels >= min_pixels(64):
                expected[f"{label[a]}|{label[b]}"] = True
        assert metadata.occlusion_pairs == expected


def test_a_record_depends_on_the_thresholds_that_are_said_to_matter_and_on_no_other(
    scenes: list[tuple[View, Metadata]],
) -> None:
    default = Thresholds().model_dump()
    shifts = {name: value + 1 if isinstance(value, int) else 0.6 * value for name, value in default.items()}
    shifts["left_share"] = 0.8
    for name, value in shifts.items():
        changed = [metadata_of(view, m.image_id, m.place, Thresholds(**{name: value})) != m for view, m in scenes]
        assert any(changed) == (name in THRESHOLDS_USED), name


def test_a_record_survives_json(scenes: list[tuple[View, Metadata]]) -> None:
    for _, metadata in scenes:
        assert Metadata.from_json(metadata.to_json()).to_json() == metadata.to_json()


def test_answers_vary(scenes: list[tuple[View, Metadata]]) -> None:
    records = [metadata for _, metadata in scenes]

    def share(condition: object) -> float:
        return sum(map(condition, records)) / len(records)  # type: ignore[call-overload]

    for name in COUNTABLE:
        assert 0.15 <= share(lambda m, n=name: n in m.objects) <= 0.7, name
    for factor in ("greenery", "sky", "building"):
        assert share(lambda m, f=factor: m.view_factors[f] > 0.5) >= 0.03, factor
        assert 0.2 <= share(lambda m, f=factor: m.view_factors[f] <= 0.2) <= 0.8, factor
    assert share(lambda m: m.depth_range <= 20) >= 0.12
    assert share(lambda m: 20 < m.depth_range <= 40) >= 0.12
    assert share(lambda m: m.depth_range > 40) >= 0.12
    for entity in ("sky", "building", "tree"):
        assert share(lambda m, e=entity: m.top_entity == e) >= 0.08, entity
    assert len({m.closest_object for m in records}) >= 7
    sides = Counter(side for m in records for side in m.spatial_distribution.values())
    assert min(sides[s] for s in ("left side", "right side", "even")) >= 0.08 * sides.total()
    assert max(m.objects.get("person", 0) for m in records) >= 4
    assert 0.2 <= share(lambda m: m.skyline_clear) <= 0.8
