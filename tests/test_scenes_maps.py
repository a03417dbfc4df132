"""The maps of a view against geometry that is known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from urbanvlm.scenes.block import build_block
from urbanvlm.scenes.camera import Camera
from urbanvlm.scenes.classes import CLASSES, COUNTABLE, ID
from urbanvlm.scenes.labels import metadata_of
from urbanvlm.scenes.place import Building, Item, Place, Street
from urbanvlm.scenes.render import View, min_pixels, render_view
from urbanvlm.scenes.sample import sample_place

SIZE = 64
PLAIN = Street(half_width=30.0, lanes=0, sidewalk=0.0)


def view_of(*items: Item, heading: int = 0, buildings: tuple[Building, ...] = (), size: int = SIZE) -> View:
    place = Place("image_hand", PLAIN, items=items, buildings=buildings)
    return render_view(build_block(place), place.camera(heading), size)


def mask(view: View, name: str) -> np.ndarray:
    return view.class_map == ID[name]


def pixel_rays(size: int) -> np.ndarray:
    grid = np.arange(size) + 0.5
    return np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)


def test_a_wall_twenty_metres_ahead_has_depth_twenty() -> None:
    wall = Building(x0=-30.0, y0=20.0, bays_x=20, bays_y=3, floors=4)
    view = view_of(buildings=(wall,))
    seen = view.depth[mask(view, "building")]
    assert seen.size > SIZE
    face = seen[np.abs(seen - 20.0) < 0.2]  # the ledge under the roof stands out by a centimetre
    assert face.size > 0.9 * seen.size
    assert np.percentile(np.abs(face - 20.0), 90) < 1e-3


def test_depth_of_the_ground_follows_from_the_height_of_the_camera() -> None:
    view = view_of()
    focal = SIZE / 2 / np.tan(np.radians(75.0) / 2)
    rows = np.arange(SIZE // 2 + 1, SIZE)
    expected = 1.6 * focal / (rows + 0.5 - SIZE / 2)
    np.testing.assert_allclose(view.depth[rows, SIZE // 2], expected, rtol=1e-4)
    assert np.isinf(view.depth[0]).all()
    assert mask(view, "sky")[0].all()


@pytest.mark.parametrize(("x", "y", "heading"), [(0, 9, 0), (9, 0, 90), (0, -9, 180), (-9, 0, 270)])
def test_an_object_in_the_direction_of_the_heading_is_in_the_middle(x: float, y: float, heading: int) -> None:
    person = Item("person", x, y)
    columns = np.flatnonzero(mask(view_of(person, heading=heading), "person").any(axis=0))
    assert abs(columns.mean() + 0.5 - SIZE / 2) < 1.5
    for other in {0, 90, 180, 270} - {heading}:
        assert not mask(view_of(person, heading=other), "person").any()


@pytest.mark.parametrize("heading", [0, 90, 180, 270])
def test_clockwise_of_the_heading_is_on_the_right(heading: int) -> None:
    def distribution(bearing: float) -> str:
        angle = np.radians(heading + bearing)
        item = Item("car", 10 * np.sin(angle), 10 * np.cos(angle), heading_deg=heading)
        return metadata_of(view_of(item, heading=heading), "i", "p").spatial_distribution["car"]

    assert (distribution(20), distribution(-20), distribution(0)) == ("right side", "left side", "even")


def test_projection_and_rays_agree() -> None:
    camera = Camera(3.0, -2.0, 2.5, heading_deg=37.0, pitch_deg=-8.0)
    pixels = pixel_rays(16)
    points = camera.position + camera.directions(pixels, 16) * 7.5
    where, depth = camera.project(points, 16)
    np.testing.assert_allclose(where, pixels, atol=1e-4)
    np.testing.assert_allclose(depth, 7.5, atol=1e-5)


def test_a_positive_pitch_shows_more_sky() -> None:
    block = build_block(Place("image_hand", PLAIN))
    shares = [
        (render_view(block, Camera(0, 0, 1.6, 0, pitch), SIZE).class_map == ID["sky"]).mean() for pitch in (-15, 0, 15)
    ]
    assert shares[0] < 0.4 < shares[1] < 0.51 < shares[2]


def test_nearer_objects_hide_farther_ones_and_the_outline_counts_the_hidden_part() -> None:
    bus, person = Item("bus", 0, 14, heading_deg=90), Item("person", 0, 5)
    both, alone = view_of(bus, person), view_of(bus)
    behind = mask(both, "person") & mask(alone, "bus")
    assert behind.sum() >= 15
    assert both.hidden == {(1, 2): behind.sum()}
    pairs = metadata_of(both, "i", "p").occlusion_pairs
    assert pairs == {"person|bus": False, "bus|person": True}
    assert np.array_equal(mask(both, "bus"), mask(alone, "bus") & ~behind)


def test_objects_side_by_side_hide_nothing() -> None:
    view = view_of(Item("person", -2, 6), Item("bench", 2, 6))
    assert metadata_of(view, "i", "p").objects == {"person": 1, "bench": 1}
    assert view.hidden == {}


def test_an_object_wholly_behind_another_is_not_there() -> None:
    view = view_of(Item("bus", 0, 9, heading_deg=90), Item("person", 0, 16))
    assert metadata_of(view, "i", "p").objects == {"bus": 1}
    assert view.hidden == {}


def test_a_speck_is_taken_out_and_the_ground_behind_it_is_seen() -> None:
    with_speck, without = view_of(Item("person", 0, 40)), view_of()
    assert np.array_equal(with_speck.class_map, without.class_map)
    assert np.array_equal(with_speck.depth, without.depth)
    assert mask(view_of(Item("person", 0, 40), size=512), "person").sum() == 0
    assert mask(view_of(Item("person", 0, 14), size=512), "person").sum() >= min_pixels(512)


def test_a_sliver_at_the_edge_is_taken_out() -> None:
    half_view = np.radians(75.0 / 2)
    edge = 6 * np.tan(half_view)
    for shift, seen in ((-0.6, True), (0.21, False)):
        view = view_of(Item("person", edge + shift, 6), size=256)
        assert mask(view, "person").any() == seen, shift


def test_the_post_of_a_sign_is_a_pole_and_not_the_sign() -> None:
    view = view_of(Item("stop sign", 0, 4, heading_deg=180), size=128)
    rows = np.flatnonzero(mask(view, "stop sign").any(axis=1))
    posts = np.flatnonzero(mask(view, "pole").any(axis=1))
    assert rows.max() < posts.max()
    assert (view.instance_map[mask(view, "pole")] == 0).all()


@pytest.mark.parametrize("number", range(6))
def test_maps_of_random_places_are_consistent(number: int) -> None:
    place = sample_place(number, seed=3)
    view = render_view(build_block(place), place.camera(90), SIZE)
    sky = mask(view, "sky")
    assert np.array_equal(np.isinf(view.depth), sky)
    assert (view.depth > 0).all()
    countable = np.isin(view.class_map, [ID[name] for name in COUNTABLE])
    assert np.array_equal(view.instance_map > 0, countable)
    for instance in np.unique(view.instance_map[countable]):
        pixels = view.class_map[view.instance_map == instance]
        assert len(np.unique(pixels)) == 1
        assert len(pixels) >= min_pixels(SIZE)
    assert view.rgb.shape == (SIZE, SIZE, 3)
    assert view.rgb.dtype == np.uint8
    assert view.rgb.std() > 5
    assert view.class_map.max() < len(CLASSES)


def test_a_view_does_not_depend_on_what_was_rendered_before() -> None:
    place = sample_place(11, seed=3)
    first = render_view(build_block(place), place.camera(270), SIZE)
    block = build_block(sample_place(11, seed=3))
    render_view(block, place.camera(0), 96)
    second = render_view(block, place.camera(270), SIZE)
    for name in ("rgb", "class_map", "instance_map", "depth"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert first.hidden == second.hidden
