"""Places: told by the row or by the name of the picture, the same however the file is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from urbanvlm.dataset.audit import audit
from urbanvlm.dataset.metadata import read_metadata
from urbanvlm.dataset.places import panorama_folders, place_of, tells_place
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.scan import scan


def write(path: Path, images: list[str], **more: str) -> Path:
    rows = [
        {
            "image_id": image,
            "question": f"Is there a car? ({number})",
            "answer": ("Yes", "No")[number % 2],
            "qtype": "perceptual",
            "subtype": "presence.binary",
            **more,
        }
        for number, image in enumerate(images)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("image_id", "place"),
    [
        ("image_100200300_heading90.jpg", "image_100200300"),
        ("image_100200300_heading90", "image_100200300"),
        ("image_40.795603_-73.925217_heading0.jpg", "image_40.795603_-73.925217"),
        ("image_40.795603_-73.925217_heading0", "image_40.795603_-73.925217"),
        ("image_40.795603_-73.925217_heading22.5.PNG", "image_40.795603_-73.925217"),
        ("40.795603,-73.925217.jpg", "40.795603,-73.925217"),
        ("40.795603,-73.925217", "40.795603,-73.925217"),
        ("train/000001.jpg", "train/000001"),
        ("val/000001.jpg", "val/000001"),
        ("./val//000001.jpg", "val/000001"),
        ("city/image_7_heading90.jpg", "city/image_7"),
        ("v1.2.png", "v1.2"),
        ("a.jpg", "a"),
        ("street.JPEG", "street"),
        ("IMG_heading.jpg", "IMG_heading"),
        ("_heading90.jpg", "_heading90"),
        ("cafe\u0301.jpg", "caf\u00e9"),
        (".jpg", ".jpg"),
    ],
)
def test_a_name_tells_its_place(image_id: str, place: str) -> None:
    assert place_of(image_id) == place


def test_views_in_a_folder_of_their_own_are_one_panorama() -> None:
    views = ["p/0.jpg", "p/90.jpg", "q/r/000.jpg", "q/r/315.png"]
    frames = [f"drive/{number}.jpg" for number in range(31)]
    mixed = ["m/0.jpg", "m/90.jpg", "m/map.jpg"]
    bare = ["0.jpg", "90.jpg", "z/360.jpg", "y/0000.jpg", "x/7.jpg"]
    names = [*views, *frames, *mixed, *bare]
    panoramas = panorama_folders(names)
    assert panoramas == {"p", "q/r"}
    assert [place_of(name, panoramas) for name in views] == ["p", "p", "q/r", "q/r"]
    others = names[len(views) :]
    assert len({place_of(name, panoramas) for name in others}) == len(others)
    assert all(tells_place(name, panoramas) is (name in views) for name in names)


NAMES = st.lists(
    st.sampled_from(
        ("a.jpg", "b", "p/0.jpg", "p/90.jpg", "p/x.png", "q/0", "q/45.jpg", "image_1_heading0.jpg", "image_1_heading90")
    ),
    min_size=1,
    max_size=8,
)


@given(NAMES)
def test_reading_and_looking_agree_on_places(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = write(tmp_path_factory.getbasetemp() / "places.jsonl", names)
    first: dict[str, int] = {}
    for number, example in enumerate(read_examples(path), 1):
        first.setdefault(example.place, number)
    assert dict(scan(path).places) == first


def test_pictures_of_coordinates_are_as_many_places_as_there_are_coordinates(tmp_path: Path) -> None:
    images = [f"image_40.{n:06d}_-73.{n:06d}_heading{heading}.jpg" for n in range(10) for heading in (0, 90, 180, 270)]
    found = audit(scan(write(tmp_path / "rows.jsonl", images)))
    assert (found.images, found.places, found.findings) == (40, 10, ())


def test_pictures_of_which_nothing_tells_are_said_so(tmp_path: Path) -> None:
    images = [f"IMG_{number:04d}.jpg" for number in range(4)]
    path = write(tmp_path / "rows.jsonl", images)
    (one,) = audit(scan(path)).findings
    assert (one.code, one.severity, one.count) == ("untold-places", "warning", 4)
    assert "4 of 4 pictures" in one.message and "write `place` into the rows" in one.message
    assert one.examples[0] == f"{path}:1: 'IMG_0000.jpg'"
    assert audit(scan(write(path, images, place="market"))).findings == ()
    assert audit(scan(write(path, images[:1]))).findings == (), "one picture is one place"


def test_metadata_of_panoramas(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    rows = [{"image_id": name} for name in ("p/0.jpg", "p/90.jpg", "a.jpg", "b.jpg")]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"image_id": "c.jpg", "place": "d"}]))
    own = read_metadata(path)
    assert [record.place for record in own.records] == ["p", "p", "a", "b", "d"]
    assert any(remark.startswith("2 pictures: neither `place` nor the name") for remark in own.remarks)


@pytest.mark.parametrize(
    ("train", "test", "shared"),
    [
        (["p/0.jpg", "p/90.jpg"], ["p/180.jpg", "p/overview.jpg"], 2),
        (["p/0.jpg", "p/map.jpg", "q/0.jpg"], ["p/180.jpg", "p/270.jpg", "q/x/0.jpg"], 1),
        (["p/0.jpg", "p/map.jpg"], ["p/180.jpg", "p/overview.jpg"], 0),
        ([f"d/{n}.jpg" for n in range(360) if n % 30], [f"d/{n}.jpg" for n in range(0, 360, 30)], 0),
    ],
)
def test_a_panorama_that_one_split_has_other_pictures_of_is_shared(
    tmp_path: Path, train: list[str], test: list[str], shared: int
) -> None:
    scans = [scan(write(tmp_path / f"{name}.jsonl", names)) for name, names in (("train", train), ("test", test))]
    found = [one.count for one in audit(scans[1], train=scans[0]).findings if one.code == "shared-places"]
    assert found == [shared] * (shared > 0)
