"""The pinhole camera: where a pixel looks, and where a point is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from urbanvlm.scenes.arrays import Floats

HEIGHTS_M = {"eye": 1.6, "car": 2.5}
FIELD_OF_VIEW_DEG = 75.0


@dataclass(frozen=True, slots=True)
class Camera:
    """A square pinhole camera in the world frame (x east, y north, z up, metres).

    Heading is clockwise from north: 0 looks north, 90 east. A positive pitch looks up.
    """

    x: float
    y: float
    z: float
    heading_deg: float
    pitch_deg: float = 0.0
    field_of_view_deg: float = FIELD_OF_VIEW_DEG

    @property
    def position(self) -> Floats:
        return np.array([self.x, self.y, self.z])

    @property
    def axes(self) -> Floats:
        """Rows right, up, forward: orthonormal, in the world frame. Shape (3, 3)."""
        heading, pitch = np.radians(self.heading_deg), np.radians(self.pitch_deg)
        level = np.array([np.sin(heading), np.cos(heading), 0.0])
        up = np.array([0.0, 0.0, 1.0])
        right = np.array([np.cos(heading), -np.sin(heading), 0.0])
        forward = np.cos(pitch) * level + np.sin(pitch) * up
        return np.stack([right, np.cos(pitch) * up - np.sin(pitch) * level, forward])

    @property
    def half_width(self) -> float:
        """Half the picture's width, seen at depth 1."""
        return float(np.tan(np.radians(self.field_of_view_deg) / 2))

    def directions(self, pixels: Floats, size: int) -> Floats:
        """Rays through positions (N, 2), column and row, of a size × size picture; 0.5, 0.5 is the top left's centre.

        A direction is as long as its depth is 1, so that a ray's parameter is depth along the optical axis, in metres.
        """
        right, up, forward = self.axes
        across = (np.asarray(pixels, np.float64) / size * 2 - 1) * self.half_width
        return (forward + across[:, :1] * right - across[:, 1:] * up).astype(np.float32)

    def project(self, points: Floats, size: int) -> tuple[Floats, Floats]:
        """Points (N, 3) → pixel positions (N, 2) as column, row, and depths (N,) in metres; depth ≤ 0 lies behind."""
        right, up, forward = ((np.asarray(points, np.float64) - self.position) @ self.axes.T).T
        with np.errstate(divide="ignore", invalid="ignore"):
            columns = (right / (forward * self.half_width) + 1) / 2 * size
            rows = (1 - up / (forward * self.half_width)) / 2 * size
        return np.stack([columns, rows], axis=1), forward
