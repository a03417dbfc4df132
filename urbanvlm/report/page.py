"""The report of a run as one Markdown page beside its pictures."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from urbanvlm import __version__
from urbanvlm.dataset.images import open_image
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.taxonomy import METRICS, SUBTYPES
from urbanvlm.evaluate.asked import Asked, asked_examples
from urbanvlm.evaluate.parse import parse_gold
from urbanvlm.evaluate.score import judge, merge_predictions, weighted_scores
from urbanvlm.records import Example, Prediction, Score, write_atomic
from urbanvlm.report.curves import read_curves
from urbanvlm.report.gallery import Reply, Scene, choose_examples, plot_gallery
from urbanvlm.report.grid import ScoreGrid, lower_is_better
from urbanvlm.report.markdown import code_block, escape, pipe_table, shorten
from urbanvlm.report.plots import plot_f1, plot_mae, plot_training, plot_unparsed
from urbanvlm.report.tables import PARTIAL_REASON, PARTIAL_STAMP, fixed, markdown_table, percent
from urbanvlm.run_folder import RunFolder

Predictions = Mapping[str, Prediction]
"""by example id"""

SCENES = 9
LONGEST_REPLY = 160
LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "tokenizers", "numpy", "scikit-learn", "pillow")


def write_report(run: RunFolder, rows: Sequence[Score]) -> None:
    """Write `report.md`, last, after the pictures in `report/`; each file atomically, the same input the same bytes.

    Reads the examples, the predictions behind `rows`, what training logged, and the pictures of the scenes shown.
    Raises ValueError where the rows contradict each other, UserError where a file is missing or broken.
    """
    grid = ScoreGrid.of(rows)
    asked = asked_examples(run)
    examples = asked.examples
    predictions = {
        (model, phase): merge_predictions(examples, _shards(run, model, phase))
        for model in grid.models
        for phase in grid.phases
    }
    pictures = run.path / "report"
    pictures.mkdir(exist_ok=True)
    sections = [
        _opening(run, grid, asked),
        _scores_section(grid, rows, pictures),
        _weighted_section(run, grid, examples, predictions),
        _training_section(run, grid, pictures),
        _scenes_section(run, grid, examples, predictions, pictures),
        _questions_section(run, examples),
        _making_section(run),
    ]
    write_atomic(run.report, "\n".join(section for section in sections if section))


def _shards(run: RunFolder, model: str, phase: str) -> list[Path]:
    return [run.shard_file(model, phase, shard) for shard in range(run.experiment.evaluate.shards)]


def _opening(run: RunFolder, grid: ScoreGrid, asked: Asked) -> str:
    """What was asked, and the answer in a line a model."""
    experiment, examples = run.experiment, asked.examples
    lines = [f"# {escape(experiment.name)}", ""]
    if experiment.question.strip():
        lines += [f"*{escape(experiment.question)}*", ""]
    if asked.partial:
        lines += [f"> **{PARTIAL_STAMP}** — {PARTIAL_REASON}: only the first {len(examples)} were asked.", ""]
    places = len({example.place for example in examples})
    lines += [f"{len(examples)} questions about {places} places.", ""]
    if asked.without_gold:
        count, first_line = len(asked.without_gold), escape(asked.without_gold[0])
        lines += [
            f"Not asked, because the gold answer does not fit the question: {count} rows. First: {first_line}",
            "",
        ]
    for model in grid.models:
        first, *rest = (grid.wins(model, phase) for phase in grid.phases)
        story = f"{first} of {len(grid.asked)} metrics"
        story += f" before fine-tuning, on {rest[0]} after it" if rest else ""
        lines.append(f"- **{escape(model)}** beats the blind baseline on {story}.")
    return "\n".join(lines) + "\n"


def _scores_section(grid: ScoreGrid, rows: Sequence[Score], pictures: Path) -> str:
    text = f"## Scores\n\n{markdown_table(rows)}\n"
    if grid.never_asked:
        names = ", ".join(f"{METRICS[key].group} {METRICS[key].name}" for key in grid.never_asked)
        text += f"Not asked in this experiment: {names}.\n\n"
    text += _READING
    keys = grid.asked + grid.beside
    if any(not lower_is_better(METRICS[key]) for key in keys):
        plot_f1(grid, pictures / "scores-f1.png")
        text += "\n![F1 per metric, before and after](report/scores-f1.png)\n"
    if any(lower_is_better(METRICS[key]) for key in keys):
        plot_mae(grid, pictures / "scores-mae.png")
        text += "\n![Mean absolute error per metric, before and after](report/scores-mae.png)\n"
    return text + "\n" + _unparsed_section(grid, pictures)


_READING = """\
How to read it:

- Metrics are F1, from 0 to 1, higher is better: of the answer yes for yes/no questions, the mean over the classes
  (macro) where the answer is a class. **MAE ↓** marks a mean absolute error: lower is better.
- Under each value stands its 95 % interval, from a bootstrap over places: pictures of one place are not independent.
- *blind* is the blind baseline: it gives every question its subtype's most frequent answer without looking. A score
  in **bold** with ✓ beats it: the whole interval lies on the better side.
- An answer that could not be read, or is missing, counts as wrong, and as the largest possible error in an MAE.
"""


def _unparsed_section(grid: ScoreGrid, pictures: Path) -> str:
    if not any(score.unparsed_share for score in grid.scores.values()):
        return "### Unparsed answers\n\nNone: every answer could be read.\n"
    plot_unparsed(grid, pictures / "unparsed.png")
    return "### Unparsed answers\n\n![Share of unparsed answers by metric and model](report/unparsed.png)\n"


def _weighted_section(
    run: RunFolder, grid: ScoreGrid, examples: Sequence[Example], predictions: Mapping[tuple[str, str], Predictions]
) -> str:
    """The other customary mean over classes, for readers who compare with work that prints it."""
    experiment = run.experiment
    train_examples = read_examples(run.split_file("train")) if run.has_split("train") else None
    rows = [
        row
        for (model, phase), answers in predictions.items()
        for row in weighted_scores(
            examples,
            answers,
            train_examples,
            model=model,
            phase=phase,
            profile=grid.profile,
            resamples=experiment.evaluate.bootstrap_resamples,
            seed=experiment.seed,
        )
    ]
    if not rows:
        return ""
    words = "The same answers with every class weighted by its number of rows, beside the macro F1 above."
    return f"### Weighted F1\n\n{words}\n\n{markdown_table(rows, summary=False)}"


def _training_section(run: RunFolder, grid: ScoreGrid, pictures: Path) -> str:
    found = [read_curves(model, run.train(model) / "metrics.jsonl") for model in grid.models]
    curves = [one for one in found if one is not None and one.series]
    if not curves:
        return ""
    plot_training(curves, grid.models, pictures / "training.png")
    header = ["model", "global steps", "last training loss", "lowest validation loss", "examples/s", "memory, MiB"]
    lines = [
        [
            escape(one.model),
            str(one.steps),
            _figure(one.last("loss")),
            _figure(one.lowest("validation_loss")),
            _figure(one.median("examples_per_second")),
            _figure(one.highest("memory_mib")),
        ]
        for one in curves
    ]
    note = "Faint lines are logged values, strong ones their moving average; examples/s is the median, memory the peak."
    return (
        f"## Training\n\n{pipe_table(header, lines, right=range(1, len(header)))}\n"
        f"![Training curves](report/training.png)\n\n{note}\n\n"
        f"TensorBoard reads [tensorboard/](tensorboard/).\n"
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else fixed(value, 5)


def _scenes_section(
    run: RunFolder,
    grid: ScoreGrid,
    examples: Sequence[Example],
    predictions: Mapping[tuple[str, str], Predictions],
    pictures: Path,
) -> str:
    scenes = _scenes(examples, predictions)
    if not scenes:
        return ""
    path = pictures / "scenes.png"
    plot_gallery(scenes, grid.models, grid.phases, lambda image_id: open_image(run.images, image_id), path)
    words = (
        "Different subtypes and places, chosen by a hash of the examples' ids, not by how a model did. "
        "✓ right, ✗ wrong, ≈ a number that is off, ? not readable as an answer."
    )
    text = f"## Scenes\n\n{words}\n\n![Scenes with question, answer and predictions](report/scenes.png)\n"
    return text + "".join(_scene_text(number, scene, grid) for number, scene in enumerate(scenes, start=1))


def _scenes(examples: Sequence[Example], predictions: Mapping[tuple[str, str], Predictions]) -> list[Scene]:
    chosen = choose_examples(examples, SCENES)
    replies: dict[str, dict[tuple[str, str], Reply]] = {example.id: {} for example in chosen}
    for column, answers in predictions.items():
        shown = {example.id: answers[example.id] for example in chosen}
        for row in judge(chosen, shown):
            replies[row.example_id][column] = Reply.of(row, shown[row.example_id].text)
    return [Scene(example, replies[example.id]) for example in chosen]


def _scene_text(number: int, scene: Scene, grid: ScoreGrid) -> str:
    example = scene.example
    lines = []
    for model in grid.models:
        cells = [_reply_cell(scene.replies[model, phase]) for phase in grid.phases]
        lines.append([escape(model), *cells])
    return (
        f"\n**{number}. {escape(example.question)}** Gold: **{escape(example.answer)}**  \n"
        f"{escape(example.scored_subtype)}, picture {escape(example.image_id)}\n\n"
        f"{pipe_table(['model', *grid.phases], lines)}"
    )


def _reply_cell(reply: Reply) -> str:
    text = " ".join(reply.text.split())
    shown = escape(shorten(text, LONGEST_REPLY)) or "(nothing)"
    if len(text) > LONGEST_REPLY and reply.final != reply.text:
        shown += f" Answer: {escape(shorten(reply.final, LONGEST_REPLY))}"
    return f"{reply.mark} {shown}" + (f" ({reply.note})" if reply.note else "")


def _questions_section(run: RunFolder, examples: Sequence[Example]) -> str:
    """How the gold answers are distributed: a high share of one answer is what a blind guesser lives on."""
    by_subtype: dict[str, list[Example]] = {subtype: [] for subtype in SUBTYPES}
    for example in examples:
        by_subtype[example.scored_subtype].append(example)
    lines = []
    for subtype, members in by_subtype.items():
        if not members:
            continue
        golds = Counter(str(parse_gold(example)) for example in members)
        answer, count = min(golds.items(), key=lambda item: (-item[1], item[0]))
        places = len({example.place for example in members})
        most = f"{escape(answer)} ({percent(count / len(members))})"
        lines.append([escape(subtype), str(len(members)), str(places), str(len(golds)), most])
    header = ["subtype", "rows", "places", "different answers", "most frequent answer"]
    card = run.dataset / "card.md"
    link = f"\nMore in the [dataset card]({card.relative_to(run.path)}).\n" if card.is_file() else ""
    return f"## Questions\n\nThe gold answers of the test split.\n\n{pipe_table(header, lines, right=(1, 2, 3))}{link}"


def _making_section(run: RunFolder) -> str:
    experiment = run.experiment
    models = [
        [escape(m.label), escape(m.family), escape(m.checkpoint), escape(m.revision or "–"), m.precision]
        for m in experiment.models
    ]
    facts = [
        f"- run `{run.id}`, seed {experiment.seed}, scoring profile {experiment.evaluate.profile}, "
        f"{experiment.evaluate.bootstrap_resamples} bootstrap resamples",
        f"- urbanvlm {__version__}, Python {platform.python_version()}, {', '.join(_versions())}",
        "- scores with all their digits: [scores.json](scores.json)",
        "- predictions: [models/](models/), in `<model>/evaluate/<phase>/predictions/`",
    ]
    return (
        "## How the numbers were made\n\n"
        + "\n".join(facts)
        + f"\n\n{pipe_table(['model', 'family', 'checkpoint', 'revision', 'precision'], models)}\n"
        + "<details>\n<summary>The experiment</summary>\n\n"
        + code_block(experiment.to_yaml(), "yaml")
        + "\n</details>\n"
    )


def _versions() -> Iterator[str]:
    """Versions from the installed packages' records: nothing heavy is imported."""
    for name in LIBRARIES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} not installed"
