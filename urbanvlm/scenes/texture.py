"""Procedural textures: the albedo of surface points, from their position and their triangle's surface."""

from __future__ import annotations

import numpy as np

from urbanvlm.scenes.arrays import Flags, Floats, Integers, f32
from urbanvlm.scenes.meshes import Mesh, Surface, linear
from urbanvlm.scenes.place import Building, Place, Street

_LATTICE = np.random.default_rng(20240229).random((256, 256)).astype(np.float32)


def noise(x: Floats, y: Floats) -> Floats:
    """Smooth value noise in 0..1, one feature per unit, repeating after 256."""
    fx, fy = np.floor(x), np.floor(y)
    ix, iy = fx.astype(np.int32) & 255, fy.astype(np.int32) & 255
    tx, ty = x - fx, y - fy
    tx, ty = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty)
    jx, jy = (ix + 1) & 255, (iy + 1) & 255
    low = _LATTICE[iy, ix] * (1 - tx) + _LATTICE[iy, jx] * tx
    high = _LATTICE[jy, ix] * (1 - tx) + _LATTICE[jy, jx] * tx
    return low * (1 - ty) + high * ty


def cell_hash(*cells: Integers) -> Floats:
    """A fixed random number in 0..1 for every integer cell."""
    mixed = np.zeros(np.shape(cells[0]), np.int64)
    for cell in cells:
        mixed = (mixed * 7919 + np.asarray(cell, np.int64) * 104729 + 12345) & 0xFFFFFF
        mixed = (mixed * 48271 + (mixed >> 9)) & 0xFFFFFF
    return _LATTICE[mixed >> 8 & 255, mixed & 255]


class Skin:
    """Albedo, reflectivity and own light of points, written into by one painter per surface."""

    def __init__(self, albedo: Floats) -> None:
        self.albedo = albedo
        self.mirror = np.zeros(len(albedo), np.float32)
        """share of the sky's reflection"""
        self.light = np.zeros(len(albedo), np.float32)
        """own light as a multiple of the albedo"""


def texture(place: Place, mesh: Mesh, triangles: Integers, points: Floats, normals: Floats, dusk: bool) -> Skin:
    """Skin of points (N, 3) in the world frame that lie on the given triangles (N,)."""
    skin = Skin(mesh.albedo[triangles].copy())
    surface = mesh.surface[triangles]
    x, y = place.to_street(points[:, 0], points[:, 1])
    local = np.column_stack([x, y, points[:, 2]]).astype(np.float32)
    for kind, painter in _PAINTERS.items():
        rows = np.flatnonzero(surface == kind)
        if len(rows):
            skin.albedo[rows] *= painter(local[rows], place.street)
    rows = np.flatnonzero(surface == Surface.FACADE)
    if len(rows):
        c, s = np.cos(np.radians(place.street_heading_deg)), np.sin(np.radians(place.street_heading_deg))
        across = np.abs(normals[rows, 0] * c - normals[rows, 1] * s)
        along = np.abs(normals[rows, 0] * s + normals[rows, 1] * c)
        _facade(skin, rows, local[rows], along > across, mesh.style[triangles[rows]], place.buildings, dusk)
    skin.mirror[surface == Surface.GLASS] = 0.35
    skin.light[surface == Surface.GLOW] = 2.5
    return skin


def _asphalt(p: Floats, street: Street) -> Floats:
    grain = 0.82 + 0.2 * noise(p[:, 0] * 9, p[:, 1] * 9) + 0.16 * noise(p[:, 0] * 0.7, p[:, 1] * 0.4)
    tone = np.repeat(grain[:, None], 3, axis=1)
    white, yellow = _markings(p, street)
    worn = (0.85 + 0.25 * noise(p[:, 0] * 5, p[:, 1] * 5))[:, None]
    tone = np.where(white[:, None], 7.6 * worn, tone)
    return np.where(yellow[:, None], f32([7.4, 4.9, 0.9]) * worn, tone)


def _markings(p: Floats, street: Street) -> tuple[Flags, Flags]:
    """Which road points carry white paint, which yellow."""
    x, y = p[:, 0], p[:, 1]
    on_main = np.abs(x) < street.half_width
    clear = np.ones(len(p), bool)
    if street.cross_y is not None:
        clear &= np.abs(y - street.cross_y) > street.cross_half_width + 4.2
    zebra = np.zeros(len(p), bool)
    for middle in street.crosswalk_ys:
        strip = np.abs(y - middle) < 1.6
        zebra |= strip & on_main & (np.abs(x) < street.half_width - 0.3) & (np.mod(x, 1.0) < 0.52)
        clear &= np.abs(y - middle) > 2.2
    dashed = np.mod(y, 6.0) < 3.0
    centre = np.abs(x) < 0.08
    lines = np.abs(np.abs(x) - (street.half_width - 0.25)) < 0.06
    if street.lanes > 2:
        lane = 2 * street.half_width / street.lanes
        between = (np.abs(np.mod(x + lane / 2, lane) - lane / 2) < 0.08) & dashed & (np.abs(x) > 0.5)
        lines |= between & (np.abs(x) < street.half_width - 0.5)
        centre = np.abs(np.abs(x) - 0.15) < 0.06
        dashed = np.ones(len(p), bool)
    middle_line = centre & dashed & clear & on_main
    white = zebra | (lines & clear & on_main)
    if street.cross_y is not None:
        aside = np.abs(x) > street.half_width + 1.5
        white |= (np.abs(y - street.cross_y) < 0.08) & (np.mod(x, 6.0) < 3.0) & aside
    return (white, middle_line) if street.yellow_line else (white | middle_line, np.zeros(len(p), bool))


def _paving(p: Floats, street: Street) -> Floats:
    size = 0.8
    u, v = p[:, 0] / size, p[:, 1] / size
    v = v + 0.5 * (np.floor(u).astype(np.int32) & 1)
    joint = (np.abs(u - np.floor(u) - 0.5) > 0.465) | (np.abs(v - np.floor(v) - 0.5) > 0.465)
    stone = 0.86 + 0.2 * cell_hash(np.floor(u).astype(np.int32), np.floor(v).astype(np.int32))
    tone = np.where(joint, 0.62, stone) * (0.88 + 0.22 * noise(p[:, 0] * 0.6, p[:, 1] * 0.6))
    return np.repeat(tone[:, None], 3, axis=1).astype(np.float32)


def _grass(p: Floats, street: Street) -> Floats:
    patch, blade = noise(p[:, 0] * 0.35, p[:, 1] * 0.35), noise(p[:, 0] * 14, p[:, 1] * 14)
    tone = 0.55 + 0.45 * patch + 0.5 * blade * noise(p[:, 0] * 2.5, p[:, 1] * 2.5)
    warm = 0.9 + 0.3 * patch
    return np.column_stack([tone * warm, tone, tone * 0.9])


def _foliage(p: Floats, street: Street) -> Floats:
    x, y, z = p.T
    leaf = (noise(x * 13, y * 13) + noise(y * 13, z * 13 + 50) + noise(z * 13 + 90, x * 13)) / 3
    clump = (noise(x * 2.2, y * 2.2 + 31) + noise(y * 2.2 + 17, z * 2.2) + noise(z * 2.2, x * 2.2 + 63)) / 3
    tone = 0.2 + 0.9 * np.clip(leaf * 3 - 1, 0, 1) + 0.7 * clump
    return np.column_stack([tone * (0.9 + 0.3 * clump), tone, tone * (1.05 - 0.25 * leaf)])


def _tiles(p: Floats, street: Street) -> Floats:
    row = np.floor(p[:, 2] / 0.22).astype(np.int32)
    tone = 0.8 + 0.3 * cell_hash(row, np.floor((p[:, 0] + p[:, 1]) / 0.5).astype(np.int32))
    return np.repeat(tone[:, None], 3, axis=1).astype(np.float32)


def _plain(p: Floats, street: Street) -> Floats:
    return np.repeat(0.94 + 0.12 * noise(p[:, 0] * 11 + p[:, 2] * 7, p[:, 1] * 11 - p[:, 2] * 5)[:, None], 3, axis=1)


_PAINTERS = {
    Surface.PLAIN: _plain,
    Surface.ROAD: _asphalt,
    Surface.PAVING: _paving,
    Surface.GRASS: _grass,
    Surface.FOLIAGE: _foliage,
    Surface.ROOF: _tiles,
}


def _facade(
    skin: Skin,
    rows: Integers,
    p: Floats,
    faces_along: Flags,
    style: Integers,
    buildings: tuple[Building, ...],
    dusk: bool,
) -> None:
    """Walls with windows, frames, doors and shop fronts. `faces_along`: the wall runs across the street."""
    numbers = np.array(
        [
            (b.x0, b.y0, b.bay, b.floor_height, b.floors, b.window_width, b.window_height, b.shop, b.brick, b.seed)
            for b in buildings
        ],
        np.float32,
    )[style]
    x0, y0, bay, floor_height, floors, width, height, shop, brick, seed = numbers.T
    u = np.where(faces_along, p[:, 0] - x0, p[:, 1] - y0) / bay
    v = p[:, 2] / floor_height
    column, floor = np.floor(u), np.floor(v)
    du, dv = np.abs(u - column - 0.5), v - floor - 0.5
    column, floor, seed = column.astype(np.int32), floor.astype(np.int32), seed.astype(np.int32)
    ground = floor == 0
    wide = np.where(ground & (shop > 0), 0.86, width)
    high = np.where(ground & (shop > 0), 0.72, height)
    in_floor = (floor >= 0) & (floor < floors)
    window = in_floor & (du < wide / 2) & (np.abs(dv) < high / 2)
    frame = in_floor & (du < wide / 2 + 0.035) & (np.abs(dv) < high / 2 + 0.04) & ~window
    cross = window & (np.minimum(np.abs(u - column - 0.5), np.abs(dv - high * 0.15)) < 0.014)
    entrance = ground & (cell_hash(column, seed) < 0.3)
    door = entrance & (du < 0.19) & (dv < 0.2)
    window &= ~(entrance & (shop == 0))
    frame = (frame & ~(entrance & (shop == 0))) | (entrance & (du < 0.23) & (dv < 0.24) & ~door)

    tone = 0.9 + 0.16 * noise(u * 3 + seed, v * 3) - 0.16 * np.exp(-np.maximum(p[:, 2], 0) / 0.7)
    mortar = (np.mod(p[:, 2], 0.16) < 0.025) & (brick > 0)
    bricks = cell_hash(np.floor(p[:, 2] / 0.16).astype(np.int32), np.floor(u * bay * 3.3).astype(np.int32))
    tone = np.where(brick > 0, tone * (0.82 + 0.3 * bricks), tone)
    tone = np.where(mortar, tone * 1.25, tone)
    tone = np.where((np.abs(v - np.round(v)) < 0.02) & (floor > 0) & (brick == 0), tone * 0.8, tone)
    albedo = skin.albedo[rows] * tone[:, None]
    chance = cell_hash(column, floor, seed)
    pane = f32([0.035, 0.05, 0.065]) + 0.12 * (chance > 0.72)[:, None] * f32([1, 0.95, 0.85])
    albedo = np.where(window[:, None], pane, albedo)
    light = linear((0.88, 0.87, 0.84))
    albedo = np.where((frame | cross)[:, None] & (brick > 0)[:, None], light, albedo)
    albedo = np.where((frame | cross)[:, None] & (brick == 0)[:, None], albedo * 0.7 + 0.2 * light, albedo)
    doors = np.stack([linear(c) for c in ((0.35, 0.2, 0.12), (0.15, 0.25, 0.22), (0.4, 0.1, 0.1), (0.16, 0.2, 0.36))])
    albedo = np.where(door[:, None], doors[seed % 4], albedo)
    lit = window & ~cross & (chance < (0.42 if dusk else 0.0))
    albedo = np.where(lit[:, None], f32([1.0, 0.62, 0.25]) * (0.5 + chance[:, None]), albedo)
    skin.albedo[rows] = albedo
    skin.mirror[rows] = np.where(window & ~cross & ~lit & ~door, 0.3 + 0.25 * cell_hash(floor, column, seed), 0.0)
    skin.light[rows] = np.where(lit, 1.3, 0.0)
