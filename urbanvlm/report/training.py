"""How the models of a run trained: curves, and the figures that they end with."""

from __future__ import annotations

from functools import cache

from urbanvlm.report.curves import read_curves
from urbanvlm.report.document import Figure, Link, Paragraph, Section, Table
from urbanvlm.report.facts import RunFacts
from urbanvlm.report.tables import fixed


def training_section(facts: RunFacts) -> Section | None:
    from urbanvlm.report.plots import draw_training

    models = facts.grid.models
    found = [read_curves(model, facts.run.train(model) / "metrics.jsonl") for model in models]
    curves = [one for one in found if one is not None and one.series]
    if not curves:
        return None
    header = ["model", "global steps", "last training loss", "lowest validation loss", "examples/s", "memory, MiB"]
    rows = [
        [
            one.model,
            str(one.steps),
            _figure(one.last("loss")),
            _figure(one.lowest("validation_loss")),
            _figure(one.median("examples_per_second")),
            _figure(one.highest("memory_mib")),
        ]
        for one in curves
    ]
    note = "Faint lines are logged values, strong ones their moving average; examples/s is the median, memory the peak."
    return Section(
        "Training",
        (
            Table.of(header, rows, range(1, len(header))),
            Figure(
                "training",
                "Training curves",
                cache(lambda: draw_training(curves, models)),
                lambda: draw_training(curves, models, columns=1),
            ),
            Paragraph.of(note),
            Paragraph.of("TensorBoard reads ", Link("tensorboard/", "tensorboard/"), "."),
        ),
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else fixed(value, 5)
