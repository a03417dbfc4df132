"""Daylight: the sky's colour in every direction, the sun, the ambient light and the fog of a weather."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from urbanvlm.scenes.arrays import Floats, f32
from urbanvlm.scenes.meshes import linear
from urbanvlm.scenes.place import Weather
from urbanvlm.scenes.texture import noise


@dataclass(frozen=True)
class Daylight:
    """Linear colours (3,), fog per metre."""

    sun_direction: Floats
    sun: Floats
    ambient: Floats
    bounce: Floats
    zenith: Floats
    horizon: Floats
    cloud: Floats
    cover: float
    """cloud threshold: 0 all clouds, 1 none"""
    fog: float


def _rgb(red: float, green: float, blue: float, strength: float = 1.0) -> Floats:
    return linear((red, green, blue)) * np.float32(strength)


_LIGHT = {
    # weather: sun, ambient, bounce, zenith, horizon, cloud, cover, fog
    "clear": (
        _rgb(1, 0.95, 0.85, 2.5), _rgb(0.66, 0.78, 0.95, 0.95), _rgb(0.6, 0.55, 0.5, 0.4), _rgb(0.22, 0.46, 0.82),
        _rgb(0.72, 0.85, 0.95), _rgb(0.98, 0.98, 0.98), 0.56, 0.0008,
    ),
    "overcast": (
        _rgb(0.95, 0.96, 1, 0.75), _rgb(0.86, 0.89, 0.94, 1.3), _rgb(0.6, 0.6, 0.6, 0.45), _rgb(0.62, 0.67, 0.74),
        _rgb(0.8, 0.83, 0.86), _rgb(0.9, 0.91, 0.93), 0.3, 0.002,
    ),
    "fog": (
        _rgb(0.95, 0.95, 0.95, 0.5), _rgb(0.9, 0.91, 0.93, 1.35), _rgb(0.6, 0.6, 0.6, 0.45), _rgb(0.76, 0.79, 0.82),
        _rgb(0.82, 0.84, 0.86), _rgb(0.84, 0.85, 0.87), 0.5, 0.011,
    ),
    "dusk": (
        _rgb(1, 0.6, 0.32, 1.7), _rgb(0.62, 0.62, 0.85, 0.6), _rgb(0.5, 0.4, 0.4, 0.22), _rgb(0.2, 0.28, 0.55),
        _rgb(0.98, 0.68, 0.46), _rgb(0.95, 0.62, 0.55), 0.52, 0.0018,
    ),
}  # fmt: skip


def daylight(weather: Weather) -> Daylight:
    heading, elevation = np.radians(weather.sun_heading_deg), np.radians(weather.sun_elevation_deg)
    level = np.cos(elevation)
    direction = np.array([level * np.sin(heading), level * np.cos(heading), np.sin(elevation)], np.float32)
    return Daylight(direction, *_LIGHT[weather.kind])


def sky_colour(light: Daylight, weather: Weather, directions: Floats, clouds: bool = True) -> Floats:
    """Linear colour (N, 3) of the sky in unit directions (N, 3)."""
    height = np.clip(directions[:, 2], 0, 1)
    share = np.sqrt(height)[:, None]
    colour = light.horizon * (1 - share) + light.zenith * share
    towards_sun = np.clip(directions @ light.sun_direction, 0, 1)
    if weather.kind in ("clear", "dusk"):
        glow = 0.22 * towards_sun**8 + 1.2 * towards_sun**400
        colour = colour + glow[:, None] * light.sun * 0.5
    if clouds and weather.kind != "fog":
        flat = directions[:, :2] / (height[:, None] + 0.18) * 1.1
        shift = f32([weather.seed % 251, weather.seed % 241])
        u, v = (flat + shift).T
        bank = 0.55 * noise(u, v) + 0.3 * noise(u * 2.1 + 7, v * 2.1) + 0.15 * noise(u * 4.3, v * 4.3 + 5)
        veil = np.clip((bank - light.cover) * 4.5, 0, 1) * np.clip(height * 6, 0, 1) * 0.85
        colour = colour * (1 - veil[:, None]) + light.cloud * (0.75 + 0.4 * bank[:, None]) * veil[:, None]
    return colour.astype(np.float32)
