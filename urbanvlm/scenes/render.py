"""One view of a block: rays to maps of class, instance and depth, and to colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from urbanvlm.scenes.block import Block, Layer
from urbanvlm.scenes.camera import Camera
from urbanvlm.scenes.classes import CLASSES, ID
from urbanvlm.scenes.sky import daylight, sky_colour
from urbanvlm.scenes.texture import texture

SUPERSAMPLED_UP_TO = 160
"""Pictures up to this size get 3 × 3 rays a pixel, whose middle one is the pixel's centre; larger ones get one."""
NO_TRIANGLE = -1

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """A picture and its exact ground truth, taken at pixel centres. Arrays are H × W."""

    rgb: NDArray[np.uint8]
    """H × W × 3, sRGB"""
    class_map: NDArray[np.uint8]
    """indices into CLASSES"""
    instance_map: NDArray[np.int16]
    """0 where the class is not countable"""
    depth: Floats
    """metres along the optical axis, infinite where the sky is"""
    hidden: Mapping[tuple[int, int], int]
    """(a, b) of visible instances → number of pixels that show b where a would be seen if it stood alone"""


@dataclass(frozen=True)
class _Hits:
    """What the rays of one layer hit."""

    ray: NDArray[np.intp]
    depth: Floats
    triangle: NDArray[np.int32]


def min_pixels(size: int) -> int:
    """An instance with fewer visible pixels is a speck: it is taken out of the view."""
    return max(8, round(0.0006 * size * size))


def render_view(block: Block, camera: Camera, size: int, supersample: int | None = None) -> View:
    """Picture and maps of size × size pixels; `supersample` is odd: rays per pixel and axis."""
    factor = supersample or (3 if size <= SUPERSAMPLED_UP_TO else 1)
    directions = camera.directions(size * factor)
    centres = _centre_rays(size, factor)
    background = _cast(block.background, camera, directions, np.arange(len(directions)))
    layers = {i + 1: _cast_object(layer, camera, directions, size * factor) for i, layer in enumerate(block.objects)}
    seen = _without_specks(block, background, layers, centres, size)
    depth, triangle, instance = _compose(len(directions), background, {i: layers[i] for i in seen})
    rgb = _develop(_shade(block, camera, directions, depth, triangle), size, factor)
    class_map, instance_map = _label(block, triangle[centres], instance[centres])
    shape = (size, size)
    return View(
        rgb,
        class_map.reshape(shape),
        instance_map.reshape(shape),
        depth[centres].reshape(shape),
        _hidden(block, {i: layers[i] for i in seen}, instance_map, centres),
    )


def _centre_rays(size: int, factor: int) -> NDArray[np.intp]:
    middle = np.arange(size) * factor + factor // 2
    return (middle[:, None] * (size * factor) + middle).ravel()


def _cast(layer: Layer, camera: Camera, directions: Floats, rays: NDArray[np.intp]) -> _Hits:
    chosen = directions[rays]
    origins = np.broadcast_to(camera.position.astype(np.float32), chosen.shape)
    result = layer.scene.run(np.ascontiguousarray(origins), chosen, output=1)
    hit = np.flatnonzero(result["primID"] >= 0)
    return _Hits(rays[hit], result["tfar"][hit], result["primID"][hit] + np.int32(layer.first_triangle))


def _cast_object(layer: Layer, camera: Camera, directions: Floats, width: int) -> _Hits | None:
    """Cast only the rays within the object's outline box; None if it is out of sight."""
    where, depth = camera.project(layer.corners, width)
    if (depth <= 0.05).all():
        return None
    low, high = np.zeros(2), np.full(2, width - 1.0)
    if (depth > 0.05).all():
        low, high = np.maximum(np.floor(where.min(axis=0)) - 1, 0), np.minimum(np.ceil(where.max(axis=0)), width - 1)
        if (low > high).any():
            return None
    columns, rows = (np.arange(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    hits = _cast(layer, camera, directions, (rows[:, None] * width + columns).ravel())
    return hits if len(hits.ray) else None


def _compose(
    count: int, background: _Hits, layers: Mapping[int, _Hits | None]
) -> tuple[Floats, NDArray[np.int32], NDArray[np.int16]]:
    """Nearest depth, triangle and layer per ray."""
    depth = np.full(count, np.inf, np.float32)
    triangle = np.full(count, NO_TRIANGLE, np.int32)
    instance = np.zeros(count, np.int16)
    depth[background.ray], triangle[background.ray] = background.depth, background.triangle
    for number, hits in layers.items():
        if hits is None:
            continue
        nearer = hits.depth < depth[hits.ray]
        rays = hits.ray[nearer]
        depth[rays], triangle[rays], instance[rays] = hits.depth[nearer], hits.triangle[nearer], number
    return depth, triangle, instance


def _label(
    block: Block, triangle: NDArray[np.int32], instance: NDArray[np.int16]
) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Class and instance; the post of a light or a sign is of class pole and of no instance."""
    class_map = np.where(triangle == NO_TRIANGLE, ID["sky"], block.mesh.class_id[triangle]).astype(np.uint8)
    own = np.array([0, *(ID[layer.class_name or "sky"] for layer in block.objects)], np.uint8)
    return class_map, np.where((instance > 0) & (own[instance] == class_map), instance, 0).astype(np.int16)


def _without_specks(
    block: Block, background: _Hits, layers: Mapping[int, _Hits | None], centres: NDArray[np.intp], size: int
) -> list[int]:
    """The instances left when specks are taken out, again and again: what one uncovers may be a speck, too."""
    kept = [i for i, hits in layers.items() if hits is not None]
    while True:
        _, triangle, instance = _compose(_ray_count(centres, size), background, {i: layers[i] for i in kept})
        _, instance_map = _label(block, triangle[centres], instance[centres])
        pixels = np.bincount(instance_map, minlength=len(block.objects) + 1)
        specks = {i for i in kept if 0 < pixels[i] < min_pixels(size)}
        if not specks:
            return kept
        kept = [i for i in kept if i not in specks]


def _ray_count(centres: NDArray[np.intp], size: int) -> int:
    return int(centres[-1]) * 2 - int(centres[0]) + 1 if size == 1 else _square(centres, size)


def _square(centres: NDArray[np.intp], size: int) -> int:
    factor = round((centres[1] - centres[0]))
    return int((size * factor) ** 2)


def _hidden(
    block: Block, layers: Mapping[int, _Hits | None], instance_map: NDArray[np.int16], centres: NDArray[np.intp]
) -> Counter[tuple[int, int]]:
    """For every visible instance, whose pixels lie within its full outline."""
    visible = set(np.unique(instance_map)) - {0}
    pixel_of = np.full(int(centres[-1]) * 2 + 2, -1, np.int64)
    pixel_of[centres] = np.arange(len(centres))
    pairs: Counter[tuple[int, int]] = Counter()
    for a, hits in layers.items():
        if hits is None or a not in visible:
            continue
        own = block.mesh.class_id[hits.triangle] == ID[block.objects[a - 1].class_name or "sky"]
        pixels = pixel_of[hits.ray[own]]
        shown = instance_map[pixels[pixels >= 0]]
        for b, count in zip(*np.unique(shown[(shown != a) & (shown > 0)], return_counts=True), strict=True):
            pairs[a, int(b)] = int(count)
    return pairs


def _shade(block: Block, camera: Camera, directions: Floats, depth: Floats, triangle: NDArray[np.int32]) -> Floats:
    """Linear colour per ray."""
    weather = block.place.weather
    light = daylight(weather)
    colour = np.empty((len(directions), 3), np.float32)
    units = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    is_sky = triangle == NO_TRIANGLE
    colour[is_sky] = sky_colour(light, weather, units[is_sky])
    solid = np.flatnonzero(~is_sky)
    ray, tri = directions[solid], triangle[solid]
    points = camera.position.astype(np.float32) + ray * depth[solid, None]
    normals = block.normals[tri]
    normals = normals * -np.sign(np.einsum("ij,ij->i", normals, ray) + 1e-20)[:, None]
    skin = texture(block.place, block.mesh, tri, points, normals, weather.kind == "dusk")
    facing = normals @ light.sun_direction
    sunlit = facing * _sun_reaches(block.everything, points, normals, light.sun_direction, facing)
    upward = normals[:, 2:] * 0.5 + 0.5
    incoming = sunlit[:, None] * light.sun + upward * light.ambient + (1 - upward) * light.bounce + skin.light[:, None]
    lit = skin.albedo * incoming
    shiny = np.flatnonzero(skin.mirror)
    if len(shiny):
        u, n = units[solid[shiny]], normals[shiny]
        mirrored = u - 2 * np.einsum("ij,ij->i", u, n)[:, None] * n
        lit[shiny] += skin.mirror[shiny, None] * sky_colour(light, weather, mirrored, clouds=False)
    distance = depth[solid] * np.linalg.norm(ray, axis=1)
    clear = np.exp(-light.fog * distance)[:, None]
    colour[solid] = lit * clear + (light.horizon * 0.95) * (1 - clear)
    return colour


def _sun_reaches(scene: EmbreeScene, points: Floats, normals: Floats, sun: Floats, facing: Floats) -> Floats:
    """1 where the sun is seen from a point, 0 in shadow or on the far side."""
    reached = np.zeros(len(points), np.float32)
    rows = np.flatnonzero(facing > 0)
    if len(rows):
        origins = points[rows] + normals[rows] * 0.01 + sun * 0.01
        towards = np.ascontiguousarray(np.broadcast_to(sun, origins.shape))
        reached[rows] = scene.run(origins, towards, query="OCCLUDED") < 0
    return reached


def _develop(colour: Floats, size: int, factor: int) -> NDArray[np.uint8]:
    """Linear light → sRGB bytes: a soft shoulder instead of clipped highlights, then the mean of a pixel's rays."""
    toned = 1 - np.exp(-1.25 * np.maximum(colour, 0))
    pixels = toned.reshape(size, factor, size, factor, 3).mean(axis=(1, 3))
    return (np.power(pixels, np.float32(1 / 2.2)) * 255 + 0.5).astype(np.uint8)


def class_share(view: View, *names: str) -> float:
    """Share of the pixels that belong to the classes."""
    return float(np.isin(view.class_map, [CLASSES.index(name) for name in names]).mean())
