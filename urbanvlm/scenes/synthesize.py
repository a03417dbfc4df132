"""Many places to pictures and metadata on disk: parallel, resumable, the same bytes however it was run."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from urbanvlm.errors import UserError
from urbanvlm.experiment import DEFAULT_THRESHOLDS, Scenes, Thresholds
from urbanvlm.progress import Progress
from urbanvlm.records import write_atomic, write_jsonl
from urbanvlm.runtime.preemption import NEVER, SIGNALS, StopSignal
from urbanvlm.scenes.block import build_block
from urbanvlm.scenes.labels import THRESHOLDS_USED, metadata_of
from urbanvlm.scenes.render import render_view
from urbanvlm.scenes.sample import sample_place

Rows = list[dict[str, Any]]

PNG_UP_TO = 128
"""Small pictures are stored without loss; larger ones as JPEG, a tenth of the size."""


@dataclass(frozen=True)
class _Job:
    """All that decides the bytes of the places."""

    scenes: Scenes
    thresholds: Thresholds
    seed: int
    out: Path
    fingerprint: str
    """of the settings, this package's code and the libraries that compute; a place with another one is redone"""

    def record(self, number: int) -> Path:
        """Written last: if it is there and fits, the place's pictures are there."""
        return self.out / "places" / f"{number:06d}.json"


def synthesize(
    scenes: Scenes,
    seed: int,
    out: Path,
    *,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    processes: int = 1,
    progress: Progress | None = None,
    stop: StopSignal = NEVER,
) -> None:
    """Write out/images/<image_id> and, last and atomically, out/metadata.jsonl, sorted by image_id.

    Places that an earlier, interrupted call with the same arguments finished are checked and kept (out/places/).
    Raises UserError if the folder cannot be written; Stopped between two places when asked to.
    """
    job = _Job(scenes, thresholds, seed, out, _fingerprint(scenes, thresholds, seed))
    _prepare(job)
    rows = {number: found for number in range(scenes.places) if (found := _finished(job, number)) is not None}
    missing = [number for number in range(scenes.places) if number not in rows]
    if missing:
        (out / "metadata.jsonl").unlink(missing_ok=True)
    progress = progress or Progress(None, total=scenes.places, unit="places")
    progress.update(len(rows))
    for number, rendered in _render_all(job, missing, processes, stop):
        rows[number] = rendered
        progress.update(len(rows))
    every_row = [row for place_rows in rows.values() for row in place_rows]
    write_jsonl(out / "metadata.jsonl", sorted(every_row, key=lambda row: str(row["image_id"])))


def _fingerprint(scenes: Scenes, thresholds: Thresholds, seed: int) -> str:
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    settings = {"headings": scenes.headings, "image_size": scenes.image_size, "camera": scenes.camera, "seed": seed}
    versions = [f"{name} {version(name)}" for name in ("numpy", "embreex", "trimesh", "pillow")]
    lines = {name: getattr(thresholds, name) for name in THRESHOLDS_USED}
    digest.update(json.dumps([settings, lines, versions]).encode())
    return digest.hexdigest()


def _prepare(job: _Job) -> None:
    """Make the folders, and clear away what a killed process left half-written."""
    for folder in (job.out / "images", job.out / "places"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(folder, f"cannot be made ({error.strerror})", "choose another output folder") from None
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
    if not os.access(job.out / "images", os.W_OK):
        raise UserError(job.out / "images", "is not writable", "choose another output folder")


def _finished(job: _Job, number: int) -> Rows | None:
    """The place's metadata rows, if it was finished with this fingerprint and its pictures are as they were written."""
    try:
        record = json.loads(job.record(number).read_text(encoding="utf-8"))
        if record["fingerprint"] != job.fingerprint:
            return None
        for name, digest in record["pictures"].items():
            if hashlib.sha256((job.out / "images" / name).read_bytes()).hexdigest() != digest:
                return None
        rows: Rows = record["rows"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return rows


def _render_all(job: _Job, numbers: list[int], processes: int, stop: StopSignal) -> Iterator[tuple[int, Rows]]:
    """Render the places, yielding each one's number and rows when it is safely on disk."""
    if processes == 1 or len(numbers) <= 1:
        for number in numbers:
            stop.check()
            yield _render_place(job, number)
        return
    stop.check()
    context = multiprocessing.get_context("spawn")
    with _children_deaf():  # of semaphores, which multiprocessing has a process for
        pool = ProcessPoolExecutor(min(processes, len(numbers)), context, _die_with_parent)
    with pool:
        with _children_deaf():
            futures = [pool.submit(_render_place, job, number) for number in numbers]
        try:
            for future in as_completed(futures):
                yield future.result()
                stop.check()
        finally:
            # What a worker has begun, it finishes: that much is saved.
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _children_deaf() -> Iterator[None]:
    """Processes started inside never hear that the job is to stop: Slurm tells all of them, and the parent decides.

    They inherit the mask at their very beginning, when they could not have a handler yet; no signal is lost here, as a
    masked one waits.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _die_with_parent() -> None:
    """Leave when the parent is gone or says so: a pool's worker would else wait for work for ever after kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent deals with it
    parent = multiprocessing.parent_process()

    def obey() -> None:
        # A pool that lost a worker ends the others by the same signal that the whole job gets when it is to stop.
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
            pass
        os._exit(1)

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    threading.Thread(target=obey, daemon=True).start()


def _render_place(job: _Job, number: int) -> tuple[int, Rows]:
    place = sample_place(number, job.seed, job.scenes.camera)
    block = build_block(place)
    suffix = "png" if job.scenes.image_size <= PNG_UP_TO else "jpg"
    rows: Rows = []
    digests = {}
    for heading in job.scenes.headings:
        view = render_view(block, place.camera(heading), job.scenes.image_size)
        name = f"{place.name}_heading{heading}.{suffix}"
        picture = _encode(Image.fromarray(view.rgb), suffix)
        _write_bytes(job.out / "images" / name, picture)
        digests[name] = hashlib.sha256(picture).hexdigest()
        rows.append(metadata_of(view, name, place.name, job.thresholds).to_json())
    record = {"fingerprint": job.fingerprint, "pictures": digests, "rows": rows}
    write_atomic(job.record(number), json.dumps(record))
    return number, rows


def _encode(image: Image.Image, suffix: str) -> bytes:
    buffer = io.BytesIO()
    if suffix == "png":
        image.save(buffer, "PNG", compress_level=4)
    else:
        image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _write_bytes(path: Path, content: bytes) -> None:
    """Temp name, then rename; no fsync, because a place's record holds the hash and is checked on resume."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
