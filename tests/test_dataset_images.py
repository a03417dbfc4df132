"""Pictures: found with or without extension, never outside their folder, refused where they are broken."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from urbanvlm.dataset.images import image_faults, open_image, resolve_image
from urbanvlm.errors import UserError

RED, BLUE = (220, 20, 20), (20, 20, 220)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "street").mkdir(parents=True)
    picture = Image.new("RGB", (40, 20), RED)
    picture.paste(BLUE, (20, 0, 40, 20))
    for name in ("a.jpg", "b.jpeg", "c.png", "d.webp", "street/e.png", "v1.2.png"):
        picture.save(folder / name)
    picture.save(tmp_path / "secret.png")
    return folder


def near(pixel: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(a - b) < 40 for a, b in zip(pixel, colour, strict=True))


@pytest.mark.parametrize("image_id", ["a", "b", "c", "d", "street/e", "v1.2"])
def test_the_extension_may_be_missing(images: Path, image_id: str) -> None:
    found = resolve_image(images, image_id)
    assert found.parent == (images / image_id).parent and found.stem == Path(image_id).name
    assert resolve_image(images, found.relative_to(images).as_posix()) == found
    picture = open_image(images, image_id)
    assert (picture.mode, picture.size) == ("RGB", (40, 20))
    assert near(picture.getpixel((5, 10)), RED) and near(picture.getpixel((35, 10)), BLUE)


@pytest.mark.parametrize(
    "image_id",
    ["", ".", "..", "../secret.png", "../secret", "street/../../secret.png", "/etc/passwd", "a\0b", "..\\secret.png"],
)
def test_an_id_cannot_leave_the_folder(images: Path, image_id: str) -> None:
    with pytest.raises(UserError, match="not a path inside the image folder"):
        resolve_image(images, image_id)
    assert [(index, code) for index, code, _ in image_faults(["a", image_id], images)] == [(1, "image-outside")]


def test_an_absolute_path_into_the_folder_is_refused_too(images: Path) -> None:
    with pytest.raises(UserError, match="not a path inside"):
        resolve_image(images, str(images / "a.jpg"))


def test_links_that_lead_out_are_found_and_can_be_read(images: Path) -> None:
    (images / "inside.png").symlink_to("c.png")
    (images / "out.png").symlink_to(images.parent / "secret.png")
    (images / "up").symlink_to(images.parent)
    ids = ["inside", "out.png", "out", "up/secret.png"]
    assert [open_image(images, image_id).size for image_id in ids] == [(40, 20)] * 4, "a run may allow them"
    found = list(image_faults(ids, images))
    assert [(index, code) for index, code, _ in found] == [(n, "linked-image") for n in (1, 2, 3)]
    assert "up/secret.png: is reached over a link that leads out of the image folder" in found[2][2]


def test_the_folder_itself_may_be_a_link(images: Path) -> None:
    link = images.parent / "link"
    link.symlink_to(images)
    assert open_image(link, "a").size == (40, 20)


@pytest.mark.parametrize("image_id", ["zzz.jpg", "street", "a.png", "x" * 300, "\ud800.jpg"])
def test_a_missing_picture_is_named_with_its_folder(images: Path, image_id: str) -> None:
    with pytest.raises(UserError) as error:
        resolve_image(images, image_id)
    assert str(images) in str(error.value)
    assert image_id in str(error.value)


def test_all_of_many_that_are_wrong(images: Path) -> None:
    assert list(image_faults(["a", "b.jpeg", "c", "d", "street/e.png", "a"], images)) == []
    (images / "b.jpeg").write_bytes(b"no picture")
    found = list(image_faults(["a", "zzz.png", "b", "yyy"], images))
    assert [(index, code) for index, code, _ in found] == [
        (1, "missing-image"),
        (2, "broken-image"),
        (3, "missing-image"),
    ]
    assert "zzz.png: no such picture" in found[0][2] and "b.jpeg: is not a whole picture" in found[1][2]
    assert [code for _, code, _ in image_faults(["b", "yyy"], images, decode=False)] == ["missing-image"]


@pytest.mark.parametrize("name", ["a.jpg", "c.png", "d.webp"])
def test_a_truncated_picture_is_refused_early_and_late(images: Path, name: str) -> None:
    picture = Image.effect_noise((64, 64), 90).convert("RGB")
    picture.save(images / name)
    data = (images / name).read_bytes()
    (images / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=rf"{name}: is not a whole picture"):
        open_image(images, name)
    assert [code for _, code, _ in image_faults([name], images)] == ["broken-image"]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_a_file_that_is_no_picture(images: Path, content: bytes) -> None:
    (images / "a.jpg").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.jpg: is not a whole picture"):
        open_image(images, "a")


def test_damaged_bytes_give_a_picture_or_a_user_error(images: Path) -> None:
    chance = Random(0)
    for name in ("a.jpg", "c.png", "d.webp"):
        whole = (images / name).read_bytes()
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(3):
                data[chance.randrange(len(data))] = chance.randrange(256)
            (images / name).write_bytes(data)
            try:
                assert open_image(images, name).mode == "RGB"
            except UserError as error:
                assert name in str(error)


def test_a_decompression_bomb_is_refused(images: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (12_000, 60_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        (images / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        with pytest.raises(UserError, match="too many pixels"):
            open_image(images, "bomb")


def test_exif_turns_the_picture(images: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    Image.open(images / "c.png").save(images / "turned.jpg", exif=exif, quality=95)
    picture = open_image(images, "turned")
    assert picture.size == (20, 40)
    assert near(picture.getpixel((10, 5)), RED) and near(picture.getpixel((10, 35)), BLUE)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_every_mode_becomes_rgb(images: Path, mode: str) -> None:
    Image.new("RGB", (8, 8), "white").convert(mode).save(images / "m.png")
    picture = open_image(images, "m")
    assert picture.mode == "RGB" and picture.getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("x.JPG", "x"),
        ("x.JPEG", "x"),
        ("x.Jpg", "x"),
        ("x.JPG", "x.jpg"),
        ("x.jpg", "x.JPG"),
        ("b c.JPG", "b c"),
        ("caf\u00e9.png", "cafe\u0301.png"),
        ("cafe\u0301.png", "caf\u00e9.png"),
        ("cafe\u0301.PNG", "caf\u00e9"),
        ("stra\u00dfe/caf\u00e9/x.png", "stra\u00dfe/cafe\u0301/x"),
    ],
)
def test_capitals_of_an_extension_and_the_form_of_letters_do_not_matter(images: Path, name: str, image_id: str) -> None:
    (images / name).parent.mkdir(parents=True, exist_ok=True)
    (images / "a.jpg").rename(images / name)
    assert resolve_image(images, image_id) == images / name
    assert list(image_faults([image_id], images)) == []


def test_two_pictures_that_an_id_could_mean(images: Path) -> None:
    for name in ("x.Jpg", "x.jPg"):
        (images / name).write_bytes((images / "a.jpg").read_bytes())
    with pytest.raises(UserError, match=r"could be any of x\.Jpg, x\.jPg"):
        resolve_image(images, "x")
    assert resolve_image(images, "x.Jpg").name == "x.Jpg"
    with pytest.raises(UserError, match="no such picture"):
        resolve_image(images, "X"), "capitals of the name itself are another name"
