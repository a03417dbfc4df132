"""How the numbers of a run were made: what it takes to make them again, and to doubt them."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from urbanvlm import __version__
from urbanvlm.report.document import Block, Bullets, Code, CodeBlock, Fold, Line, Link, Paragraph, Section, Table
from urbanvlm.report.facts import RunFacts
from urbanvlm.run_folder import RunFolder
from urbanvlm.same_inputs import GONE, THE_SHIPPED
from urbanvlm.samples import samples

LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "tokenizers", "numpy", "scikit-learn", "pillow")


def making_section(facts: RunFacts) -> Section:
    run, experiment = facts.run, facts.run.experiment
    settings = experiment.evaluate
    items: list[Line] = [
        (
            "run ",
            Code(run.id),
            f", seed {experiment.seed}, scoring profile {settings.profile}, {settings.bootstrap_resamples} bootstrap "
            "resamples",
        ),
        *commits(run),
        (f"urbanvlm {__version__}, Python {platform.python_version()}, {', '.join(versions())}",),
        ("scores with all their digits: ", Link("scores.json", "scores.json"), ", ", Link("CSV", "report/scores.csv")),
        ("the table for a paper: ", Link("LaTeX", "report/scores.tex")),
        ("predictions: ", Link("models/", "models/"), ", in ", Code("<model>/evaluate/<phase>/predictions/")),
        ("this report anew from the predictions, without a GPU: ", Code(f'make report RUN="{run.id}"')),
    ]
    rows = [[m.label, m.family, m.checkpoint, m.revision or "–", m.precision] for m in experiment.models]
    blocks: list[Block] = [
        Bullets(tuple(items)),
        Table.of(["model", "family", "checkpoint", "revision", "precision"], rows),
        Fold("One whole prompt of each subtype", (_prompts(facts),)),
        Fold("The experiment", (CodeBlock(experiment.to_yaml(), "yaml"),)),
    ]
    return Section("How the numbers were made", tuple(blocks))


def _prompts(facts: RunFacts) -> Block:
    """As each family got it, if the file of prompts is what it was."""
    if any(name.removesuffix(GONE) in (facts.run.experiment.evaluate.prompts, THE_SHIPPED) for name in facts.changed):
        return Paragraph.of("The prompts are not what they were when the models were asked.")
    found = samples(facts.run.experiment, facts.examples)
    return Table.of(["family", "subtype", "prompt"], [[s.family, ", ".join(s.subtypes), s.in_a_line] for s in found])


def commits(run: RunFolder) -> Iterator[Line]:
    """A line for each state of the code that jobs of the run ran; none where the run was not submitted."""
    for file in sorted(run.snapshots.glob("*.json")):
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            commit, changed = found["commit"], found["changed"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if commit is None:
            yield "code ", Code(file.stem), f", of an unknown commit: {found.get('reason') or 'not from a repository'}"
        elif changed is None:
            yield "code ", Code(file.stem), ": commit ", Code(str(commit)), f", changes unknown: {found.get('reason')}"
        elif changed:
            count = f"{len(changed)} file{'s' if len(changed) > 1 else ''}"
            yield "code ", Code(file.stem), ": commit ", Code(str(commit)), f" with changes in {count}"
        else:
            yield "code ", Code(file.stem), ": commit ", Code(str(commit))


def versions() -> Iterator[str]:
    """Versions from the installed packages' records: nothing heavy is imported."""
    for name in LIBRARIES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} not installed"
