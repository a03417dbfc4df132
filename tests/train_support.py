"""A small run to train and predict on in tests, and real processes that do it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from urbanvlm.experiment import check_experiment
from urbanvlm.records import write_jsonl
from urbanvlm.run_folder import RunFolder

ROOT = Path(__file__).parent.parent

TRAIN = """
import sys
from pathlib import Path
from urbanvlm.errors import UserError
from urbanvlm.progress import Progress
from urbanvlm.run_folder import RunFolder
from urbanvlm.train.loop import train

run, rank, world_size = RunFolder(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
try:
    train(run, run.experiment.models[0], rank, rank, world_size, Progress(None, total=0, unit="steps"))
except UserError as error:
    sys.exit(f"UserError: {error}")
"""


def make_questions(folder: Path, examples: int = 40, seed: int = 0) -> None:
    """Pictures that are bright or dark above, a question on each, in train.jsonl, val.jsonl and test.jsonl.

    Every third answer is longer than the others, so that batches differ in their numbers of learnt tokens.
    """
    random = np.random.default_rng(seed)
    images = folder / "images"
    images.mkdir(parents=True)
    splits: dict[str, list[Mapping[str, Any]]] = {"train": [], "val": [], "test": []}
    for number in range(examples):
        split = ("train", "train", "val", "test")[number % 4]
        pixels = random.integers(0, 90, (64, 64, 3), dtype=np.uint8)
        bright = bool(random.integers(2))
        pixels[:32] += np.uint8(150 * bright)
        image_id = f"image_{number:06d}_heading0.png"
        Image.fromarray(pixels).save(images / image_id)
        splits[split].append({"id": f"{split}-{number}", "image_id": image_id} | _question(number % 3 == 0, bright))
    for split, rows in splits.items():
        write_jsonl(folder / f"{split}.jsonl", rows)


def _question(long: bool, bright: bool) -> dict[str, str]:
    if long:
        subtype, question = "segmentation.vertical_layout.entity", "What fills the upper part of the picture?"
        return {"qtype": "layout", "subtype": subtype, "question": question, "answer": _entity(bright)}
    subtype, question = "viewfactor.dominance", "Does the sky take more than half of the picture?"
    return {"qtype": "viewfactor", "subtype": subtype, "question": question, "answer": "yes" if bright else "no"}


def _entity(bright: bool) -> str:
    return "sky" if bright else "traffic light"


def make_run(
    path: Path,
    questions: Path,
    *,
    model: Mapping[str, Any] | None = None,
    evaluate: Mapping[str, Any] | None = None,
    **train: Any,
) -> RunFolder:
    """A run folder over those questions: a tiny LLaVA, 2 processes, small batches unless said otherwise."""
    settings = {
        "max_steps": 8,
        "train_batch_size": 8,
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-3,
        "warmup_steps": 2,
        "weight_decay": 0.01,
        "log_every_steps": 1,
        "validate_every_steps": 3,
        "checkpoint_every_steps": 2,
    } | train
    per_process = settings["micro_batch_size"] * settings["gradient_accumulation_steps"]
    tree = {
        "name": "test",
        "mode": "fine-tune",
        "output": str(path.parent),
        "data": {f"{split}_file": str(questions / f"{split}.jsonl") for split in ("train", "val", "test")}
        | {"images": str(questions / "images")},
        "models": [{"family": "llava", "checkpoint": "tiny", **(model or {})}],
        "train": settings,
        "evaluate": {"batch_size": 4, "max_new_tokens": 4, **(evaluate or {})},
        "resources": {"processes": settings["train_batch_size"] // per_process},
    }
    run = RunFolder(path)
    run.create()
    run.write_experiment(check_experiment(tree, "test"))
    return run


def start(run: RunFolder, program: str, *arguments: str) -> list[subprocess.Popen[str]]:
    """The program once per rank, with the arguments run folder, rank and world size before its own."""
    size = run.experiment.world_size
    attempt = len(list(run.path.glob("rendez vous *")))
    # A folder of ours may be called anything: torch once waited for ever for "rendez%20vous".
    rendezvous = run.path / f"rendez vous #{attempt} é"
    rendezvous.touch()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(ROOT)}
    environment["URBANVLM_RENDEZVOUS"] = str(rendezvous)
    environment.pop("MASTER_ADDR", None)
    return [
        subprocess.Popen(
            [sys.executable, "-c", program, str(run.path), str(rank), str(size), *arguments],
            env=environment,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for rank in range(size)
    ]


def finish(processes: Sequence[subprocess.Popen[str]]) -> str:
    """Wait for every process; what rank 0 wrote to stderr. Fails if one failed."""
    with ThreadPoolExecutor() as pool:
        errors = list(pool.map(lambda process: process.communicate(timeout=240)[1], processes))
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(errors)
    return errors[0]


def metrics(run: RunFolder) -> list[dict[str, Any]]:
    file = run.train(run.experiment.models[0].label) / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
