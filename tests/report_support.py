"""Scores and a run folder as a finished run leaves them, made without any model."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from urbanvlm.dataset.taxonomy import METRICS
from urbanvlm.evaluate.scores_file import write_scores
from urbanvlm.experiment import check_experiment
from urbanvlm.records import Example, Score, write_jsonl
from urbanvlm.report.facts import gather
from urbanvlm.run_folder import RunFolder, mark_complete
from urbanvlm.stages import Stage, needs_of, results_of

MODELS = ("blip2", "instructblip", "llava")

QUESTIONS = {
    "presence.binary": ("Is there a bus in this street?", ("yes", "no")),
    "count": ("How many cars can you see?", ("0", "1", "2", "5")),
    "viewfactor.dominance": ("Does greenery fill more than half of the picture?", ("yes", "no")),
    "viewfactor.scalar": ("Which share of the picture is sky?", ("0.05", "0.21", "0.48")),
    "depth.range.label": ("How deep is the scene?", ("low", "moderate", "high")),
    "depth.closest_object": ("Which object is closest to the camera?", ("car", "person", "bench")),
    "spatial.distribution": ("Are the trees mostly on the left side?", ("yes", "no")),
    "segmentation.vertical_layout.entity": ("What fills most of the top of the picture?", ("sky", "building", "tree")),
    "negation.absence": ("Is it true that no bicycle is visible?", ("yes", "no")),
}
QUARTERS = (0, 90)
SAID = ("the the | the $x$ `of` 寺", "no", "2", "moderate", "car", "")


def scores(models: Sequence[str] = MODELS, phases: Sequence[str] = ("before", "after")) -> list[Score]:
    """Fixed scores in which every case of the table occurs; no row was ever asked of the last three of the 13."""
    table = [key for key, metric in METRICS.items() if metric.in_table]
    beside = [key for key, metric in METRICS.items() if not metric.in_table]
    rows = []
    for m, model in enumerate(models):
        for phase in phases:
            for k, key in enumerate(table + beside[:1]):
                if key in table[-3:]:
                    rows.append(
                        Score(model, phase, "real", "strict", "metric", key, "", None, None, None, 0, 0, 0.0, None)
                    )
                else:
                    rows.append(_score(model, phase, key, k, m))
    return rows


def _score(model: str, phase: str, key: str, k: int, m: int) -> Score:
    after = phase == "after"
    if METRICS[key].score == "mae":
        blind = 0.18 if k < 5 else 12.34
        value = blind * (0.5 + 0.3 * m) if after else blind * (1.2 + 0.4 * m)
        low, high = 0.85 * value, 1.15 * value
    else:
        blind = 0.5 + 0.01 * k
        value = 1.0 if after and k == 3 else min(0.98, 0.62 + 0.04 * k - 0.05 * m) if after else 0.1 * m + 0.02 * k
        low, high = (1.0, 1.0) if value == 1.0 else (max(0.0, value - 0.06), min(1.0, value + 0.05))
    unparsed = 0.0 if after else (0.0, 0.025, 1.0)[(k + m) % 3]
    asked = 120 + k
    stamp = (model, phase, "real", "strict", "metric", key, "")
    return Score(*stamp, value, low, high, round(asked * (1 - unparsed)), asked, unparsed, blind)


def make_run(
    folder: Path,
    *,
    mode: str = "fine-tune",
    models: Sequence[str] = MODELS,
    question: str = "",
    limit: int | None = None,
    images: Sequence[str] = ("real",),
    checkpoints: Sequence[str] = (),
    skill: float = 0.9,
    seed: int = 0,
    said: Sequence[str] = SAID,
    aside: str = "",
) -> RunFolder:
    """A run whose evaluation is finished: 6 places of 2 pictures each, every question about each.

    `skill` is the share of right answers after fine-tuning, `said` is what is said instead of right answers,
    `aside` stands at the end of every question.
    """
    checkpoints = checkpoints or ["tiny"] * len(models)
    experiment = check_experiment(
        {
            "name": "synthetic",
            "question": question,
            "mode": mode,
            "output": str(folder),
            "seed": seed,
            "data": {"scenes": {"places": 6, "image_size": 64, "headings": list(QUARTERS)}},
            "models": [
                {"family": "blip2", "label": label, "checkpoint": checkpoint}
                for label, checkpoint in zip(models, checkpoints, strict=True)
            ],
            "evaluate": {"shards": 2, "max_examples": limit, "bootstrap_resamples": 200, "images": list(images)},
        }
        | ({"train": {"max_steps": 60, "train_batch_size": 8, "micro_batch_size": 8}} if mode == "fine-tune" else {}),
        "test",
    )
    run = RunFolder.of(experiment)
    run.create()
    run.write_experiment(experiment)
    examples = _write_dataset(run, aside)[:limit]
    for model in models:
        if mode == "fine-tune":
            _write_metrics(run, model)
    for stage in needs_of(experiment, Stage("report")):
        right = 0.2 if stage.images != "real" else skill if stage.phase == "after" else 0.2
        _write_predictions(results_of(run, experiment, stage), stage, examples, right, said)
    return run


def score(run: RunFolder) -> RunFolder:
    """Its scores as the report leaves them, without the report, which takes seconds to draw."""
    write_scores(run.scores, gather(run).scores)
    mark_complete(run.scores)
    return run


def _write_dataset(run: RunFolder, aside: str) -> list[Example]:
    run.images.mkdir(parents=True)
    examples = []
    for place in range(6):
        for heading in QUARTERS:
            image_id = f"image_{place:06d}_heading{heading}.png"
            Image.fromarray(_picture(place, heading)).save(run.images / image_id)
            for n, (subtype, (question, answers)) in enumerate(QUESTIONS.items()):
                answer = answers[(place + heading // 90 + n) % len(answers)]
                id_, place_id = f"{image_id}#{n}", f"image_{place:06d}"
                examples.append(Example(id_, image_id, place_id, question + aside, answer, "test", subtype))
    for split in ("train", "val", "test"):
        write_jsonl(run.split_file(split), [example.to_json() for example in examples])
    (run.dataset / "card.md").write_text("# Card\n", encoding="utf-8")
    return examples


def _picture(place: int, heading: int) -> np.ndarray:
    """64 × 64 × 3 uint8: a sky, a ground and a block between them."""
    picture = np.full((64, 64, 3), (150, 190, 235), dtype=np.uint8)
    picture[38:] = (95, 95, 100)
    picture[20:44, 8 * place : 8 * place + 18] = (180, 90 + heading, 60 + 20 * place)
    return picture


def _write_predictions(
    files: Sequence[Path], stage: Stage, examples: Sequence[Example], skill: float, said: Sequence[str]
) -> None:
    rng = random.Random(f"{stage.model} {stage.phase}")
    rows = []
    for example in examples:
        # As many draws whether right or not: a more skilful twin is right wherever this one is.
        luck, other = rng.random(), rng.choice(said)
        text = example.answer if luck < skill else other
        rows.append({"example_id": example.id, "text": text, "model_id": stage.model, "prompt_hash": "0"})
    files[0].parent.mkdir(parents=True)
    for shard, file in enumerate(files):
        write_jsonl(file, rows[shard :: len(files)])


def _write_metrics(run: RunFolder, model: str) -> None:
    run.train(model).mkdir(parents=True)
    lines = []
    for step in range(1, 61):
        lines.append({"step": step, "loss": 2 / step**0.5, "learning_rate": 1e-4 * step / 60, "grad_norm": 1.0})
        if step % 20 == 0:
            lines.append({"step": step, "validation_loss": 2.2 / step**0.5})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run.train(model) / "metrics.jsonl").write_text(text, encoding="utf-8")
