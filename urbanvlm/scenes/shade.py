"""The light that comes back along rays: sun with shadows, sky, reflections, fog."""

from __future__ import annotations

import numpy as np
from embreex.rtcore_scene import EmbreeScene

from urbanvlm.scenes.arrays import Floats, Integers
from urbanvlm.scenes.block import Block
from urbanvlm.scenes.camera import Camera
from urbanvlm.scenes.sky import Daylight, daylight, sky_colour
from urbanvlm.scenes.texture import Skin, texture

EXPOSURE = 1.25
SHADOW_OFFSET_M = 0.01
"""A shadow ray starts this far off its surface, or the surface would shade itself."""


def shade(block: Block, camera: Camera, directions: Floats, depth: Floats, triangle: Integers) -> Floats:
    """Tones 0..1, before gamma, (N, 3) of rays (N, 3) of depth 1 with what they hit: depth, triangle (-1: sky)."""
    weather = block.place.weather
    light = daylight(weather)
    lengths = np.sqrt(_dot(directions, directions))
    units = directions / lengths[:, None]
    colour = np.empty((len(directions), 3), np.float32)
    is_sky = triangle < 0
    colour[is_sky] = sky_colour(light, weather, units[is_sky])
    solid = np.flatnonzero(~is_sky)
    view, tri = units[solid], triangle[solid]
    distance = depth[solid] * lengths[solid]
    points = camera.position.astype(np.float32) + view * distance[:, None]
    normals = block.normals[tri]
    normals = np.where((_dot(normals, view) > 0)[:, None], -normals, normals)
    skin = texture(block.place, block.mesh, tri, points, normals, weather.kind == "dusk")
    lit = skin.albedo * _incoming(block.everything, light, skin, points, normals)
    shiny = np.flatnonzero(skin.mirror)
    if len(shiny):
        u, n = view[shiny], normals[shiny]
        mirrored = u - 2 * _dot(u, n)[:, None] * n
        lit[shiny] += skin.mirror[shiny, None] * sky_colour(light, weather, mirrored, clouds=False)
    clear = np.exp(-light.fog * distance)[:, None]
    colour[solid] = lit * clear + 0.95 * light.horizon * (1 - clear)
    # A soft shoulder instead of clipped highlights.
    return 1 - np.exp(-EXPOSURE * np.maximum(colour, 0))


def _incoming(scene: EmbreeScene, light: Daylight, skin: Skin, points: Floats, normals: Floats) -> Floats:
    """Light that falls on points: sun where it reaches, sky from above, bounce from below, and their own."""
    facing = normals @ light.sun_direction
    sunny = np.flatnonzero(facing > 0)
    origins = points[sunny] + (normals[sunny] + light.sun_direction) * np.float32(SHADOW_OFFSET_M)
    sunlit = np.zeros(len(points), np.float32)
    if len(sunny):
        towards = np.repeat(light.sun_direction[None], len(sunny), axis=0)
        sunlit[sunny] = facing[sunny] * (scene.run(origins, towards, query="OCCLUDED") < 0)
    upward = normals[:, 2:] * 0.5 + 0.5
    return sunlit[:, None] * light.sun + upward * light.ambient + (1 - upward) * light.bounce + skin.light[:, None]


def _dot(a: Floats, b: Floats) -> Floats:
    return np.einsum("ij,ij->i", a, b)
