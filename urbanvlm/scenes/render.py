"""One view of a block: rays through pixel centres to maps, more rays where the picture is rough to a smooth picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from urbanvlm.scenes.arrays import Floats, Integers
from urbanvlm.scenes.block import Block, Layer
from urbanvlm.scenes.camera import Camera
from urbanvlm.scenes.classes import ID
from urbanvlm.scenes.shade import shade

NO_TRIANGLE = -1
NEAR_M = 0.05

FRAGMENT_SHARE = 0.01
"""An instance on a smaller share of the picture may be a mere fragment, and is then taken out like a speck: if ..."""
FRAGMENT_UNHIDDEN = 0.15
"""... a smaller share of its outline within the picture is visible, or ..."""
FRAGMENT_INSIDE = 0.3
"""... a smaller share of its vertices lies within the picture."""

ROUGH = 0.045
"""Difference to a neighbour, in tones 0..1, from which a pixel is smoothed."""
EXTRA_RAYS = np.array([(0.125, -0.375), (0.375, 0.125), (-0.125, 0.375), (-0.375, -0.125)])
"""Offsets from a pixel's centre: the rotated grid, whose five rays together have no two in a row or column."""


@dataclass(frozen=True)
class View:
    """A picture and its exact ground truth, taken at pixel centres. Arrays are H × W."""

    rgb: NDArray[np.uint8]
    """H × W × 3, sRGB"""
    class_map: NDArray[np.uint8]
    """indices into classes.CLASSES"""
    instance_map: Integers
    """0 where the class is not countable"""
    depth: Floats
    """metres along the optical axis, infinite where the sky is"""
    hidden: Mapping[tuple[int, int], int]
    """(a, b) of visible instances → number of pixels that show b and would show a if a stood alone"""


@dataclass(frozen=True)
class _Rays:
    """Rays of one picture: positions (N, 2) in pixels and directions (N, 3) of depth 1."""

    camera: Camera
    size: int
    pixels: Floats
    directions: Floats


@dataclass(frozen=True)
class _Hits:
    """What some rays hit in one layer: ray index, depth in metres, triangle of the block."""

    ray: Integers
    depth: Floats
    triangle: Integers


def min_pixels(size: int) -> int:
    """An instance with fewer visible pixels is a speck: it is taken out of the view."""
    return max(10, round(0.0006 * size * size))


def render_view(block: Block, camera: Camera, size: int) -> View:
    """Picture and maps of size × size pixels."""
    grid = np.arange(size) + 0.5
    rays = _rays(camera, size, np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2))
    background, layers = _cast_all(block, rays, range(1, len(block.objects) + 1))
    layers = _without_specks(block, rays, background, layers)
    depth, triangle, instance = _compose(rays, background, layers)
    class_map, instance_map = _labelled(block, triangle, instance)
    tones = _smooth(block, rays, shade(block, camera, rays.directions, depth, triangle), list(layers))
    square = (size, size)
    return View(
        rgb=(np.power(tones, np.float32(1 / 2.2)) * 255 + 0.5).astype(np.uint8).reshape(size, size, 3),
        class_map=class_map.reshape(square),
        instance_map=instance_map.reshape(square),
        depth=depth.reshape(square),
        hidden=_hidden(block, layers, instance_map),
    )


def _rays(camera: Camera, size: int, pixels: Floats) -> _Rays:
    return _Rays(camera, size, pixels, camera.directions(pixels, size))


def _cast_all(block: Block, rays: _Rays, numbers: Sequence[int]) -> tuple[_Hits, dict[int, _Hits]]:
    """Hits of the background, and of each object that any ray hits."""
    background = _cast(block.background, rays, np.arange(len(rays.pixels)))
    layers = {}
    for number, near in zip(numbers, _outlines(block, rays, numbers), strict=True):
        if len(near):
            hits = _cast(block.objects[number - 1], rays, near)
            if len(hits.ray):
                layers[number] = hits
    return background, layers


def _cast(layer: Layer, rays: _Rays, chosen: Integers) -> _Hits:
    directions = rays.directions[chosen]
    origins = np.repeat(rays.camera.position.astype(np.float32)[None], len(chosen), axis=0)
    result = layer.scene.run(origins, directions, output=1)
    hit = np.flatnonzero(result["primID"] >= 0)
    return _Hits(chosen[hit], result["tfar"][hit], result["primID"][hit] + np.int32(layer.first_triangle))


def _outlines(block: Block, rays: _Rays, numbers: Sequence[int]) -> list[Integers]:
    """For each object, the rays that pass its bounding box's rectangle in the picture."""
    if not numbers:
        return []
    corners = np.concatenate([block.objects[number - 1].corners for number in numbers])
    where, depth = rays.camera.project(corners, rays.size)
    where, depth = where.reshape(-1, 8, 2), depth.reshape(-1, 8)
    columns, rows = rays.pixels.T
    outlines = []
    for points, depths in zip(where, depth, strict=True):
        if (depths < NEAR_M).all():
            near = np.zeros(0, np.intp)
        elif (depths < NEAR_M).any():  # reaches behind the camera: its rectangle is unknown
            near = np.arange(len(rays.pixels))
        else:
            (left, top), (right, bottom) = points.min(axis=0) - 0.01, points.max(axis=0) + 0.01
            near = np.flatnonzero((columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom))
        outlines.append(near)
    return outlines


def _compose(rays: _Rays, background: _Hits, layers: Mapping[int, _Hits]) -> tuple[Floats, Integers, Integers]:
    """The nearest depth, triangle and layer per ray."""
    depth = np.full(len(rays.pixels), np.inf, np.float32)
    triangle = np.full(len(rays.pixels), NO_TRIANGLE, np.int32)
    instance = np.zeros(len(rays.pixels), np.int16)
    depth[background.ray], triangle[background.ray] = background.depth, background.triangle
    for number, hits in layers.items():
        nearer = hits.depth < depth[hits.ray]
        seen = hits.ray[nearer]
        depth[seen], triangle[seen], instance[seen] = hits.depth[nearer], hits.triangle[nearer], number
    return depth, triangle, instance


def _labelled(block: Block, triangle: Integers, instance: Integers) -> tuple[NDArray[np.uint8], Integers]:
    """Class and instance per ray; the post of a light or a sign is a pole and of no instance."""
    class_map = np.where(triangle == NO_TRIANGLE, ID["sky"], block.mesh.class_id[triangle]).astype(np.uint8)
    own = np.array([ID["sky"], *(ID[layer.class_name] for layer in block.objects)], np.uint8)
    return class_map, np.where(own[instance] == class_map, instance, 0).astype(np.int16)


def _without_specks(block: Block, rays: _Rays, background: _Hits, layers: dict[int, _Hits]) -> dict[int, _Hits]:
    """Take out, again and again, what nobody could name: what one uncovers may be a speck, too."""
    while True:
        _, triangle, instance = _compose(rays, background, layers)
        _, instance_map = _labelled(block, triangle, instance)
        pixels = np.bincount(instance_map, minlength=len(block.objects) + 1)
        kept = {
            number: hits
            for number, hits in layers.items()
            if pixels[number] == 0 or _recognisable(block, rays, number, hits, int(pixels[number]))
        }
        if len(kept) == len(layers):
            return kept
        layers = kept


def _recognisable(block: Block, rays: _Rays, number: int, hits: _Hits, visible: int) -> bool:
    if visible < min_pixels(rays.size):
        return False
    if visible >= FRAGMENT_SHARE * rays.size**2:
        return True
    if visible < FRAGMENT_UNHIDDEN * len(_own(block, number, hits)):
        return False
    where, depth = rays.camera.project(block.objects[number - 1].points, rays.size)
    inside = (where > 0).all(axis=1) & (where < rays.size).all(axis=1) & (depth > NEAR_M)
    return bool(inside.mean() >= FRAGMENT_INSIDE)


def _own(block: Block, number: int, hits: _Hits) -> Integers:
    """The rays that hit the part of an object that is of its class."""
    return hits.ray[block.mesh.class_id[hits.triangle] == ID[block.objects[number - 1].class_name]]


def _hidden(block: Block, layers: Mapping[int, _Hits], instance_map: Integers) -> dict[tuple[int, int], int]:
    """For every visible instance, whose pixels lie within its full outline."""
    pairs = {}
    visible = np.bincount(instance_map, minlength=len(block.objects) + 1) > 0
    for a, hits in layers.items():
        if not visible[a]:
            continue
        shown = np.bincount(instance_map[_own(block, a, hits)])
        pairs.update({(a, int(b)): int(shown[b]) for b in np.flatnonzero(shown) if b not in (0, a)})
    return pairs


def _smooth(block: Block, rays: _Rays, tones: Floats, numbers: Sequence[int]) -> Floats:
    """Give the pixels that differ from a neighbour the mean of five rays instead of one."""
    rough = _rough(tones.reshape(rays.size, rays.size, 3))
    if not len(rough):
        return tones
    positions = (rays.pixels[rough][:, None] + EXTRA_RAYS).reshape(-1, 2)
    extra = _rays(rays.camera, rays.size, positions)
    depth, triangle, _ = _compose(extra, *_cast_all(block, extra, numbers))
    more = shade(block, rays.camera, extra.directions, depth, triangle).reshape(len(rough), -1, 3)
    smooth = tones.copy()
    smooth[rough] = (tones[rough] + more.sum(axis=1)) / (1 + len(EXTRA_RAYS))
    return smooth


def _rough(tones: Floats) -> Integers:
    """Pixels that differ from one of their four neighbours."""
    rough = np.zeros(tones.shape[:2], bool)
    down = (np.abs(tones[1:] - tones[:-1]) > ROUGH).any(axis=2)
    across = (np.abs(tones[:, 1:] - tones[:, :-1]) > ROUGH).any(axis=2)
    rough[1:] |= down
    rough[:-1] |= down
    rough[:, 1:] |= across
    rough[:, :-1] |= across
    return np.flatnonzero(rough)
