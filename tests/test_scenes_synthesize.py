"""Synthesis on disk: the same bytes however it is run, stopped or started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from urbanvlm.dataset.places import place_of
from urbanvlm.errors import UserError
from urbanvlm.experiment import Scenes, Thresholds
from urbanvlm.records import Metadata, read_jsonl
from urbanvlm.runtime.preemption import Stopped, StopSignal
from urbanvlm.scenes.__main__ import main as sheet
from urbanvlm.scenes.synthesize import synthesize

SCENES = Scenes(places=8, image_size=64, headings=(0, 90))
SEED = 5

CHILD = """
import sys
from pathlib import Path
from urbanvlm.experiment import Scenes
from urbanvlm.scenes.synthesize import synthesize

if __name__ == "__main__":
    synthesize(Scenes(places=8, image_size=64, headings=(0, 90)), 5, Path(sys.argv[1]), processes=2)
    assert "torch" not in sys.modules
"""


def content(folder: Path) -> dict[str, bytes]:
    """Every file but the records of places, which are synthesize's own."""
    files = [folder / "metadata.jsonl", *(folder / "images").iterdir()]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


def start(folder: Path, script: Path) -> subprocess.Popen[bytes]:
    script.write_text(CHILD)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen([sys.executable, str(script), str(folder)], env=environment, start_new_session=True)


def wait_for(condition: object, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def done(folder: Path) -> list[Path]:
    return sorted((folder / "places").glob("[0-9]*.json"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    synthesize(SCENES, SEED, folder)
    return folder


def test_metadata_lists_every_picture_once_in_order(undisturbed: Path) -> None:
    rows = [Metadata.from_json(row) for _, row in read_jsonl(undisturbed / "metadata.jsonl")]
    names = [row.image_id for row in rows]
    assert names == sorted(p.name for p in (undisturbed / "images").iterdir())
    assert len(names) == SCENES.places * len(SCENES.headings)
    assert all(row.place == place_of(row.image_id) for row in rows)
    assert names[0] == "image_000000_heading0.png"
    with Image.open(undisturbed / "images" / names[0]) as picture:
        assert (picture.size, picture.mode) == ((64, 64), "RGB")


def test_killed_with_all_its_workers_it_goes_on_and_ends_with_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    for attempt in range(5):
        folder = tmp_path / f"out{attempt}"
        child = start(folder, tmp_path / "child.py")
        wait_for(lambda f=folder: len(done(f)) >= 2)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        before = {path: path.stat().st_mtime_ns for path in done(folder)}
        if len(before) < SCENES.places:
            break  # else it was done before the signal: again
    assert 2 <= len(before) < SCENES.places
    assert not (folder / "metadata.jsonl").exists()
    (folder / "images" / ".image_000007_heading0.png.1.tmp").write_bytes(b"half a pic")
    synthesize(SCENES, SEED, folder)
    assert content(folder) == content(undisturbed)
    assert not list(folder.rglob(".*"))
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    child = start(folder, tmp_path / "child.py")
    wait_for(lambda: len(done(folder)) >= 1)
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    assert len(children) >= 2
    child.kill()
    child.wait()
    wait_for(lambda: not any(_alive(int(pid)) for pid in children), seconds=60)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_finished_places_are_not_rendered_again_and_broken_ones_are(undisturbed: Path, tmp_path: Path) -> None:
    expected = content(undisturbed)
    synthesize(SCENES, SEED, tmp_path)
    records = done(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in records}
    (tmp_path / "images" / "image_000001_heading90.png").write_bytes(b"not a picture")
    (tmp_path / "images" / "image_000003_heading0.png").unlink()
    records[5].write_text(records[5].read_text()[:-40])
    records[6].write_text("[]")
    synthesize(SCENES, SEED, tmp_path)
    assert content(tmp_path) == expected
    redone = {path.name for path in records if path.stat().st_mtime_ns != times[path]}
    assert redone == {"000001.json", "000003.json", "000005.json", "000006.json"}


def test_places_of_another_seed_or_size_are_not_taken_over(tmp_path: Path) -> None:
    few = SCENES.model_copy(update={"places": 2})
    synthesize(few, SEED, tmp_path / "mixed")
    synthesize(few, SEED + 1, tmp_path / "mixed")
    synthesize(few, SEED + 1, tmp_path / "clean")
    assert content(tmp_path / "mixed") == content(tmp_path / "clean")


def test_thresholds_of_labels_make_a_place_again_and_others_do_not(tmp_path: Path) -> None:
    few = SCENES.model_copy(update={"places": 2})
    synthesize(few, SEED, tmp_path / "one")
    before = {path: path.stat().st_mtime_ns for path in done(tmp_path / "one")}
    synthesize(few, SEED, tmp_path / "one", thresholds=Thresholds(crowd=9, dominant_share=0.7))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    near = Thresholds(foreground_m=2.0)
    synthesize(few, SEED, tmp_path / "one", thresholds=near)
    synthesize(few, SEED, tmp_path / "other", thresholds=near)
    assert all(path.stat().st_mtime_ns != time for path, time in before.items())
    assert content(tmp_path / "one") == content(tmp_path / "other")
    records = [Metadata.from_json(row) for _, row in read_jsonl(tmp_path / "one" / "metadata.jsonl")]
    synthesize(few, SEED, tmp_path / "one")
    assert records != [Metadata.from_json(row) for _, row in read_jsonl(tmp_path / "one" / "metadata.jsonl")]


def test_a_picture_does_not_depend_on_its_neighbours(undisturbed: Path, tmp_path: Path) -> None:
    synthesize(SCENES.model_copy(update={"places": 2, "headings": (90,)}), SEED, tmp_path)
    for name in ("image_000000_heading90.png", "image_000001_heading90.png"):
        assert (tmp_path / "images" / name).read_bytes() == (undisturbed / "images" / name).read_bytes()


def test_large_pictures_are_jpeg(tmp_path: Path) -> None:
    synthesize(Scenes(places=2, image_size=160, headings=(0,)), SEED, tmp_path)
    names = [json.loads(line)["image_id"] for line in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    assert names == ["image_000000_heading0.jpg", "image_000001_heading0.jpg"]
    with Image.open(tmp_path / "images" / names[0]) as picture:
        assert (picture.size, picture.format) == ((160, 160), "JPEG")


def test_an_output_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be made"):
        synthesize(SCENES, SEED, tmp_path / "file" / "out")


def test_the_sheet_is_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["scenes", str(tmp_path / "sheet.png"), "--size", "64", "--places", "1"])
    sheet()
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width == 4 * 256


STOPPED_CHILD = """
import sys
from pathlib import Path
from urbanvlm.experiment import Scenes
from urbanvlm.runtime.preemption import STOPPED_EXIT_CODE, Stopped, StopSignal
from urbanvlm.scenes.synthesize import synthesize

if __name__ == "__main__":
    stop = StopSignal.listen(None, None)
    scenes = Scenes(places=12, image_size=64, headings=(0, 90))
    try:
        synthesize(scenes, 5, Path(sys.argv[1]), processes=int(sys.argv[2]), stop=stop)
    except Stopped as stopped:
        sys.exit(STOPPED_EXIT_CODE if str(stopped).startswith("told to stop (SIG") else 1)
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    synthesize(SCENES.model_copy(update={"places": 12}), SEED, folder, processes=2)
    return folder


@pytest.mark.parametrize("processes", [1, 2])
def test_told_to_stop_with_all_its_workers_it_ends_between_places_and_goes_on(
    processes: int, many: Path, tmp_path: Path
) -> None:
    script = tmp_path / "child.py"
    script.write_text(STOPPED_CHILD)
    folder = tmp_path / "out"
    child = subprocess.Popen(
        [sys.executable, str(script), str(folder), str(processes)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: len(done(folder)) >= 1)
    # As Slurm does it: every process of the job is told, also workers that are still importing.
    os.killpg(child.pid, signal.SIGUSR2)
    os.killpg(child.pid, signal.SIGTERM)
    assert child.communicate()[1] == ""
    assert child.returncode == 75
    before = {path: path.stat().st_mtime_ns for path in done(folder)}
    assert 1 <= len(before) < 12
    assert not list(folder.rglob("*.tmp")), "a worker has finished what it had begun"
    synthesize(SCENES.model_copy(update={"places": 12}), SEED, folder, processes=processes)
    assert content(folder) == content(many)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_worker_that_is_killed_ends_the_whole_with_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    child = start(folder, tmp_path / "child.py")
    wait_for(lambda: len(done(folder)) >= 1)
    workers = [
        pid
        for pid in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()
    ]
    assert len(workers) == 2
    os.kill(int(workers[0]), signal.SIGKILL)
    # The pool ends the other by SIGTERM: it must obey its parent, though it is deaf to others.
    assert child.wait(timeout=60) == 1
    wait_for(lambda: not any(_alive(int(pid)) for pid in workers), seconds=60)


def test_asked_before_it_begins_it_renders_nothing(tmp_path: Path) -> None:
    stop = StopSignal(None, 0.0)
    with pytest.raises(Stopped, match="time limit near"):
        synthesize(SCENES, SEED, tmp_path, stop=stop)
    assert done(tmp_path) == []
