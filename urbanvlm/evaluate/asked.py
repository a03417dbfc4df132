"""Which examples of a run are put to its models: the test split, less what cannot be scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from urbanvlm.dataset.read import read_examples
from urbanvlm.errors import UserError
from urbanvlm.evaluate.parse import parse_gold
from urbanvlm.experiment import Experiment
from urbanvlm.records import Example, dataset_fingerprint
from urbanvlm.run_folder import RunFolder


@dataclass(frozen=True)
class Asked:
    """The examples that every model of a run answers, and those that nobody could answer rightly."""

    examples: tuple[Example, ...]
    without_gold: tuple[str, ...]
    """a line for each row whose gold answer is none of its subtype, such as Yes to a question that begins with where"""
    partial: bool
    """were examples left out because evaluate.max_examples says so?"""
    dataset: str
    """fingerprint of the whole file; every prediction carries it"""


def asked_examples(run: RunFolder) -> Asked:
    """Raises UserError naming file and line of a broken row, or if no row can be scored."""
    file, experiment = run.split_file("test"), run.experiment
    rows = read_examples(file, experiment.data.allow)
    usable, refused = with_gold(rows, experiment)
    if not usable:
        raise UserError(file, "has no row whose answer fits its subtype", f"first: {refused[0]}")
    examples = usable[: experiment.evaluate.max_examples]
    partial = len(examples) < len(usable)
    return Asked(tuple(examples), tuple(refused), partial, dataset_fingerprint(rows))


def with_gold(rows: Sequence[Example], experiment: Experiment) -> tuple[list[Example], list[str]]:
    """(rows whose gold answer the experiment's scoring profile can read, a line for each of the others)."""
    gold = _gold_reader(experiment)
    usable, refused = [], []
    for row in rows:
        try:
            gold(row)
        except UserError as error:
            refused.append(str(error))
        else:
            usable.append(row)
    return usable, refused


def _gold_reader(experiment: Experiment) -> Callable[[Example], object]:
    if experiment.evaluate.profile == "strict":
        return parse_gold
    # Late: planning needs no numpy.
    from urbanvlm.evaluate.profiles import profile_of

    return profile_of(experiment.evaluate.profile, chain_of_thought=experiment.data.chain_of_thought).gold
