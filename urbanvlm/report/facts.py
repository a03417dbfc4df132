"""All that a report of a run says, read and judged once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from urbanvlm.dataset.audit import Audit, Use, audit
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.scan import scan
from urbanvlm.evaluate.asked import Asked, asked_examples
from urbanvlm.evaluate.compare import Difference, paired
from urbanvlm.evaluate.former_ids import FormerIds
from urbanvlm.evaluate.judge import gold_counts, judge
from urbanvlm.evaluate.metrics import Row
from urbanvlm.evaluate.predictions import merge_predictions
from urbanvlm.evaluate.profiles import Profile, profile_of
from urbanvlm.evaluate.score import Stamp, score_rows
from urbanvlm.records import Example, Score
from urbanvlm.report.grid import ScoreGrid, shown_images
from urbanvlm.run_folder import RunFolder
from urbanvlm.same_inputs import changed_inputs, check_same_questions
from urbanvlm.stages import Stage, needs_of, results_of


@dataclass(frozen=True)
class Evaluation:
    """One model in one phase, shown one kind of images: every asked example, judged."""

    model: str
    phase: str
    images: str
    rows: Sequence[Row]
    texts: Mapping[str, str]
    """example id -> what the model said"""

    @property
    def name(self) -> str:
        return f"{self.model} {self.phase}"


@dataclass(frozen=True)
class RunFacts:
    """A finished run."""

    run: RunFolder
    asked: Asked
    profile: Profile
    evaluations: tuple[Evaluation, ...]
    scores: tuple[Score, ...]
    audit: Audit

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """Files that are not what the run began with; the question files are."""
        return changed_inputs(self.run.experiment, self.run)

    @cached_property
    def grid(self) -> ScoreGrid:
        return ScoreGrid.of(self.scores)

    @property
    def examples(self) -> Sequence[Example]:
        return self.asked.examples

    @cached_property
    def seeing(self) -> tuple[Evaluation, ...]:
        """Those of each model's shown images, model by model."""
        kinds = shown_images((one.model, one.images) for one in self.evaluations)
        return tuple(one for one in self.evaluations if one.images == kinds[one.model])

    def seeing_of(self, model: str, phase: str) -> Evaluation | None:
        return next((one for one in self.seeing if (one.model, one.phase) == (model, phase)), None)

    def paired(self, first: Evaluation, second: Evaluation) -> list[Difference]:
        """How much better the second did than the first, on the same rows."""
        resamples, seed = self.run.experiment.evaluate.bootstrap_resamples, self.run.experiment.seed
        return paired(first.rows, second.rows, profile=self.profile, resamples=resamples, seed=seed)


def judged(run: RunFolder, asked: Asked, profile: Profile, stage: Stage) -> Evaluation:
    """What an evaluation's stage left behind. Raises UserError where a file is missing or broken."""
    predictions = merge_predictions(
        asked.examples,
        results_of(run, run.experiment, stage),
        FormerIds(run.split_file("test"), run.experiment.data.allow),
    )
    rows = judge(asked.examples, predictions, profile)
    texts = {id_: prediction.text for id_, prediction in predictions.items()}
    return Evaluation(stage.model, stage.phase, stage.images, rows, texts)


def profile_of_run(run: RunFolder) -> Profile:
    """The scoring profile that its experiment asks for."""
    experiment = run.experiment
    return profile_of(experiment.evaluate.profile, chain_of_thought=experiment.data.chain_of_thought)


def gather(run: RunFolder) -> RunFacts:
    """Read, judge and score all predictions of a run.

    Raises UserError where a file is missing or broken, or a question file is not what the run began with.
    """
    check_same_questions(run.experiment, run)
    resamples, seed = run.experiment.evaluate.bootstrap_resamples, run.experiment.seed
    asked, profile = asked_examples(run), profile_of_run(run)
    train_examples = read_examples(run.split_file("train"), run.experiment.data.allow) if run.has_split("train") else ()
    references = gold_counts(train_examples, profile)
    evaluations, scores = [], []
    for stage in needs_of(run.experiment, Stage("report")):
        one = judged(run, asked, profile, stage)
        stamp = Stamp(one.model, one.phase, one.images)
        scores += score_rows(one.rows, references, profile, stamp, resamples=resamples, seed=seed)
        evaluations.append(one)
    return RunFacts(run, asked, profile, tuple(evaluations), tuple(scores), _audit(run))


def _audit(run: RunFolder) -> Audit:
    """Of the whole test split; its pictures were decoded when they were asked about."""
    train = scan(run.split_file("train")) if run.has_split("train") else None
    return audit(scan(run.split_file("test")), images=run.images, train=train, use=Use(asked=True), decode=False)
