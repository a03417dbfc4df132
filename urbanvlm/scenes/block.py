"""From a place to its triangles: the ground and buildings as one scene, every object as a scene of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from urbanvlm.scenes.arrays import Floats, f32
from urbanvlm.scenes.classes import COUNTABLE, ID
from urbanvlm.scenes.meshes import Mesh, Surface, box, coated, join, prism, slab, turn
from urbanvlm.scenes.objects import SHAPES
from urbanvlm.scenes.place import KERB_M, Building, Item, Place, Street

ASPHALT, STONE, LAWN = (0.33, 0.33, 0.345), (0.62, 0.6, 0.57), (0.36, 0.46, 0.2)
FAR_M = 420.0


@dataclass(frozen=True)
class Layer:
    """One part of the block that can be seen or left out on its own."""

    scene: EmbreeScene
    first_triangle: int
    """of the layer within the block's mesh"""
    corners: Floats
    """(8, 3) of the bounding box, in the world frame"""
    class_name: str
    """countable class; empty for the background"""
    points: Floats
    """(N, 3) vertices that are of the class: a sign's plate, not its post"""


@dataclass(frozen=True)
class Block:
    """A place as geometry, in the world frame."""

    place: Place
    mesh: Mesh
    normals: Floats
    """unit, one per triangle"""
    background: Layer
    objects: tuple[Layer, ...]
    """layer i is instance i + 1 of the instance map"""
    everything: EmbreeScene
    """for shadows"""


def build_block(place: Place) -> Block:
    """Triangles and ray-casting scenes of a place."""
    scenery = [item for item in place.items if item.kind not in COUNTABLE]
    countable = [item for item in place.items if item.kind in COUNTABLE]
    fixed = join([_street_parts(place), *(_object(item) for item in scenery)])
    parts = [fixed, *(_object(item) for item in countable)]
    mesh = join(parts)
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    first = np.cumsum([0, *(len(p) for p in parts)])
    names = ["", *(item.kind for item in countable)]
    layers = [_layer(p, int(f), name) for p, f, name in zip(parts, first[:-1], names, strict=True)]
    return Block(place, mesh, normals, layers[0], tuple(layers[1:]), _ray_scene(mesh))


def _ray_scene(mesh: Mesh) -> EmbreeScene:
    scene = EmbreeScene()
    TriangleMesh(scene, mesh.vertices, mesh.faces.astype(np.uint32))
    return scene


def _layer(mesh: Mesh, first: int, name: str) -> Layer:
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    choice = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], bool)
    own = mesh.faces[mesh.class_id == ID[name]] if name else mesh.faces[:0]
    return Layer(_ray_scene(mesh), first, np.where(choice, high, low), name, mesh.vertices[np.unique(own)])


@lru_cache(maxsize=1024)
def _individual(kind: str, variant: int) -> Mesh:
    rng = np.random.default_rng([*kind.encode(), variant])
    return SHAPES[kind](rng)


def _object(item: Item) -> Mesh:
    scale = (item.scale, item.scale, item.scale)
    return _individual(item.kind, item.variant).placed(item.x, item.y, item.z, item.heading_deg, scale)


def _street_parts(place: Place) -> Mesh:
    """Ground and buildings, turned from the street's frame into the world's."""
    local = join([*_ground(place.street), *(_building(b, i) for i, b in enumerate(place.buildings))])
    return replace(local, vertices=(local.vertices - f32([*place.offset, 0])) @ turn(place.street_heading_deg).T)


def _ground(street: Street) -> list[Mesh]:
    far = "sidewalk" if street.paved else "grass"
    stone, lawn = (STONE, Surface.PAVING), (LAWN, Surface.GRASS)
    parts = [slab((-FAR_M, -FAR_M), (FAR_M, FAR_M), -0.08, *(stone if street.paved else lawn)).of_class(far)]
    half, kerb = street.half_width, street.half_width + street.sidewalk
    if street.is_path():
        parts.append(slab((-half, -FAR_M), (half, FAR_M), 0.0, (0.7, 0.64, 0.52), Surface.PAVING).of_class("sidewalk"))
    else:
        parts.append(slab((-half, -FAR_M), (half, FAR_M), 0.0, ASPHALT, Surface.ROAD).of_class("road"))
    if street.cross_y is not None:
        low, high = street.cross_y - street.cross_half_width, street.cross_y + street.cross_half_width
        parts.append(slab((-FAR_M, low), (FAR_M, high), -0.012, ASPHALT, Surface.ROAD).of_class("road"))
    for low, high in street.intervals():
        for sign, side in zip((-1, 1), street.sides, strict=True):
            x0, x1 = sorted((sign * half, sign * kerb))
            if street.sidewalk:
                parts.append(box((x0, low, -0.1), (x1, high, KERB_M), STONE, Surface.PAVING).of_class("sidewalk"))
            x0, x1 = sorted((sign * kerb, sign * (kerb + side.depth + 14)))
            if side.green:
                parts.append(box((x0, low, -0.1), (x1, high, KERB_M), LAWN, Surface.GRASS).of_class("grass"))
            else:
                parts.append(box((x0, low, -0.1), (x1, high, KERB_M), STONE, Surface.PAVING).of_class("sidewalk"))
    return parts


def _building(b: Building, style: int) -> Mesh:
    x0, x1, y0, y1, top = b.x0, b.x1, b.y0, b.y1, b.height
    roof = (0.5, 0.3, 0.24) if b.seed % 3 else (0.36, 0.36, 0.38)
    trim = tuple(min(1.0, 1.15 * c) for c in b.wall)
    parts = [box((x0, y0, -0.1), (x1, y1, top), b.wall, Surface.FACADE, style)]
    if b.gable:
        rise = 0.35 * min(x1 - x0, y1 - y0)
        half = (x1 - x0) / 2 + 0.35
        profile = [(-half, 0.0), (half, 0.0), (0.0, rise + 0.3)]
        gable = prism(profile, y1 - y0 + 0.5, roof).placed((x0 + x1) / 2, (y0 + y1) / 2, top - 0.05, 90)
        parts.append(coated(gable, Surface.ROOF))
        parts.append(box((x0 + 1, y0 + 1.5, top), (x0 + 1.7, y0 + 2.2, top + rise + 0.8), (0.5, 0.32, 0.27)))
    else:
        parts.append(box((x0 - 0.25, y0 - 0.01, top - 0.45), (x1 + 0.25, y1 + 0.01, top - 0.1), trim))
        parts.append(box((x0 + 0.3, y0 + 0.3, top - 0.2), (x1 - 0.3, y1 - 0.3, top + 0.03), (0.42, 0.42, 0.43)))
        if b.seed % 2:
            parts.append(box((x0 + 2, y0 + 2, top), (x0 + 5, y0 + 4.5, top + 2.2), trim))
    if b.shop:
        awning = ((0.7, 0.2, 0.18), (0.2, 0.4, 0.3), (0.25, 0.3, 0.5), (0.85, 0.75, 0.55))[b.seed % 4]
        z = b.floor_height * 0.86
        parts.append(box((x0 - 0.6, y0 + 0.3, z), (x1 + 0.6, y1 - 0.3, z + 0.14), awning))
    if b.balconies:
        parts += _balconies(b)
    return join(parts).of_class("building")


def _balconies(b: Building) -> list[Mesh]:
    parts = []
    for floor in range(1, min(b.floors, 6)):
        z = floor * b.floor_height + 0.1
        for bay in range(b.seed % 2, b.bays_y, 2):
            y = b.y0 + bay * b.bay
            parts.append(box((b.x0 - 0.9, y + 0.3, z), (b.x1 + 0.9, y + b.bay - 0.3, z + 0.12), (0.75, 0.73, 0.7)))
            parts.append(box((b.x0 - 0.9, y + 0.3, z + 0.9), (b.x1 + 0.9, y + b.bay - 0.3, z + 0.98), (0.2, 0.2, 0.22)))
    return parts
