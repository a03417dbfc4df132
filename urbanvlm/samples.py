"""One whole prompt of each subtype that an experiment asks, as its models get it: for the plan and the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from urbanvlm.dataset.prompts import load_prompts
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.evaluate.asked import asked_examples, with_gold
from urbanvlm.experiment import Experiment
from urbanvlm.models.registry import FAMILIES
from urbanvlm.records import Example
from urbanvlm.run_folder import RunFolder, is_complete

UNWRITTEN = "…"
"""stands for a question that the run has yet to write"""


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt as a model of the family gets it, pictures aside."""

    family: str
    subtypes: tuple[str, ...]
    """one, or all whose questions are not written yet and have the same instructions"""
    text: str

    @property
    def asked(self) -> str:
        more = len(self.subtypes) - 1
        return f"{self.subtypes[0]} and {more} more" if more else self.subtypes[0]

    @property
    def in_a_line(self) -> str:
        return self.text.replace("\n", "\\n")


def planned_samples(experiment: Experiment, run: RunFolder) -> list[Sample]:
    """Of the questions as far as they are there; nothing is written. Raises UserError where a file cannot be read."""
    return samples(experiment, _questions(experiment, run))


def samples(experiment: Experiment, examples: Iterable[Example]) -> list[Sample]:
    """The first example of each subtype, for every family of the experiment, in the order of the subtypes."""
    first: dict[str, Example] = {}
    for example in examples:
        first.setdefault(example.scored_subtype, example)
    own = experiment.evaluate.prompts
    prompts, reasons = load_prompts(Path(own) if own else None), experiment.data.chain_of_thought
    asked: dict[str, list[str]] = {}
    for name in (name for name in SUBTYPES if name in first):
        asked.setdefault(prompts.render(first[name], reasons), []).append(name)
    return [
        Sample(family, tuple(names), FAMILIES[family].whole_prompt(text))
        for family in dict.fromkeys(model.family for model in experiment.models)
        for text, names in asked.items()
    ]


def _questions(experiment: Experiment, run: RunFolder) -> Iterator[Example]:
    scenes = experiment.data.scenes
    if scenes is None:
        assert experiment.data.test_file is not None
        usable, _ = with_gold(read_examples(Path(experiment.data.test_file), experiment.data.allow), experiment)
        yield from usable[: experiment.evaluate.max_examples]
    elif is_complete(run.dataset):
        yield from asked_examples(run).examples
    else:
        for name in scenes.subtypes or SUBTYPES:
            yield Example(name, "", "", UNWRITTEN, "", "", name)
