"""What a training run learns from: its examples as prompts and targets, checked and hashed before the first step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from urbanvlm.dataset.images import Listings, resolve_image
from urbanvlm.dataset.prompts import Prompts, load_prompts
from urbanvlm.dataset.read import read_examples
from urbanvlm.models.family import LoadedModel
from urbanvlm.records import Example
from urbanvlm.run_folder import RunFolder
from urbanvlm.train.batching import validation_choice


@dataclass(frozen=True)
class TrainingData:
    """The training examples, and the validation examples that each validation uses."""

    examples: Sequence[Example]
    validation: Sequence[Example]
    images: Path
    prompts: Prompts
    chain_of_thought: bool

    @classmethod
    def of(cls, run: RunFolder, validation_examples: int) -> TrainingData:
        """Read a run's splits. Raises UserError naming file and line."""
        experiment = run.experiment
        own_prompts = experiment.evaluate.prompts
        validation = read_examples(run.split_file("val"), experiment.data.allow)
        return cls(
            read_examples(run.split_file("train"), experiment.data.allow),
            [validation[i] for i in validation_choice(len(validation), validation_examples, experiment.seed)],
            run.images,
            load_prompts(Path(own_prompts) if own_prompts else None),
            experiment.data.chain_of_thought,
        )

    def prompt(self, example: Example) -> str:
        return self.prompts.render(example, self.chain_of_thought)

    def target(self, example: Example) -> str:
        return self.prompts.target(example, self.chain_of_thought)

    def check_lengths(self, loaded: LoadedModel) -> None:
        """Raise UserError for a prompt and target that the model cannot read: better now than in mid-epoch."""
        pairs = sorted({(self.prompt(e), self.target(e)) for e in (*self.examples, *self.validation)})
        loaded.family.check_lengths(loaded, [prompt for prompt, _ in pairs], [target for _, target in pairs])

    def fingerprint(self) -> str:
        """sha256, hexadecimal, over each example's id, prompt and target and the size of each picture.

        Pictures count by size alone: reading them all takes minutes on a large set. Raises UserError for a missing one.
        """
        digest = hashlib.sha256()
        sizes: dict[str, int] = {}
        listings: Listings = {}
        for example in (*self.examples, *self.validation):
            row = [example.id, example.image_id, self.prompt(example), self.target(example)]
            digest.update(json.dumps(row).encode() + b"\n")
            if example.image_id not in sizes:
                sizes[example.image_id] = resolve_image(self.images, example.image_id, listings).stat().st_size
        digest.update(json.dumps(sizes, sort_keys=True).encode())
        return digest.hexdigest()
