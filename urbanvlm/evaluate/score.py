"""Scores of stored predictions: each metric with its interval, unparsed share and blind baseline."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from urbanvlm.dataset.taxonomy import METRICS, Metric
from urbanvlm.errors import UserError
from urbanvlm.evaluate.asked import with_gold
from urbanvlm.evaluate.blind import References, blind_baseline
from urbanvlm.evaluate.bootstrap import interval
from urbanvlm.evaluate.metrics import Measure, Row, measure_for
from urbanvlm.evaluate.parse import MISSING, Value, parse_answer, parse_gold, subtype_of
from urbanvlm.records import Example, Prediction, Score, read_jsonl, write_atomic

_DECIMALS = 6


def score_run(
    examples: Sequence[Example],
    predictions: Mapping[str, Prediction],
    train_examples: Iterable[Example] | None,
    *,
    model: str,
    phase: str,
    profile: str,
    resamples: int,
    seed: int,
) -> list[Score]:
    """The 13 metrics in their order, asked or not, then those beside the table that were asked.

    An example without a prediction counts as missing. Raises UserError for an unknown profile, an answer to an example
    that does not exist, two examples of one id, an unknown subtype, and a gold answer that cannot be parsed.
    """
    _check_profile(profile)
    references = gold_counts(train_examples or ())
    by_metric = _by_metric(judge(examples, predictions))
    return [
        _score(key, METRICS[key], by_metric.get(key, []), references, (model, phase, profile), resamples, seed)
        for key in sorted(METRICS, key=lambda key: not METRICS[key].in_table)
        if METRICS[key].in_table or key in by_metric
    ]


def weighted_scores(
    examples: Sequence[Example],
    predictions: Mapping[str, Prediction],
    train_examples: Iterable[Example] | None,
    *,
    model: str,
    phase: str,
    profile: str,
    resamples: int,
    seed: int,
) -> list[Score]:
    """Weighted F1 of every asked metric that `score_run` scores by macro F1, under the same key. Raises as it does."""
    _check_profile(profile)
    references = gold_counts(train_examples or ())
    by_metric = _by_metric(judge(examples, predictions))
    return [
        _score(key, metric, by_metric[key], references, (model, phase, profile), resamples, seed, "weighted")
        for key, metric in METRICS.items()
        if metric.score == "f1_macro" and key in by_metric
    ]


def judge(examples: Sequence[Example], predictions: Mapping[str, Prediction]) -> list[Row]:
    """Every example with its gold value and what its prediction says, in the examples' order. Raises UserError."""
    known = {example.id for example in examples}
    if len(known) != len(examples):
        twice = next(id_ for id_, count in Counter(example.id for example in examples).items() if count > 1)
        raise UserError(f"example {twice}", "two examples have this id", "give every row its own id")
    if unknown := predictions.keys() - known:
        raise UserError(
            f"prediction for {min(unknown)}",
            f"no such example ({len(unknown)} of {len(predictions)} predictions)",
            "score predictions with the examples they were made for",
        )
    return [_row(example, predictions.get(example.id)) for example in examples]


def _row(example: Example, prediction: Prediction | None) -> Row:
    subtype = subtype_of(example)
    parsed = MISSING if prediction is None else parse_answer(prediction.text, subtype, example.question)
    return Row(example.id, example.place, subtype, parse_gold(example), parsed)


def gold_counts(examples: Iterable[Example]) -> References:
    """subtype -> how often each gold value occurs; a row without a usable one says nothing about its subtype."""
    counts: dict[str, Counter[Value]] = {}
    for example in with_gold(tuple(examples))[0]:
        counts.setdefault(example.scored_subtype, Counter())[parse_gold(example)] += 1
    return counts


def _check_profile(profile: str) -> None:
    if profile != "strict":
        raise UserError("profile", f"{profile!r} is unknown", "use strict")


def _by_metric(rows: Iterable[Row]) -> dict[str, list[Row]]:
    result: dict[str, list[Row]] = {}
    for row in rows:
        result.setdefault(row.subtype.metric, []).append(row)
    return result


def _score(
    key: str,
    metric: Metric,
    rows: Sequence[Row],
    references: References,
    stamp: tuple[str, str, str],
    resamples: int,
    seed: int,
    average: Literal["macro", "weighted"] = "macro",
) -> Score:
    if not rows:
        return Score(*stamp, key, None, None, None, 0, 0, 0.0, None)
    measure = measure_for(metric, rows, average)
    statistics = _statistics_per_place(measure, rows)
    low, high = interval(measure, statistics, resamples, seed) or (None, None)
    scored = sum(row.parsed.status == "answer" for row in rows)
    return Score(
        *stamp,
        metric=key,
        value=float(measure.value(statistics.sum(axis=0))),
        low=low,
        high=high,
        scored=scored,
        asked=len(rows),
        unparsed_share=(len(rows) - scored) / len(rows),
        blind_baseline=blind_baseline(measure, rows, references),
    )


def _statistics_per_place(measure: Measure, rows: Sequence[Row]) -> np.ndarray:
    """(places, K), places in the order of their names."""
    _, places = np.unique(np.array([row.place for row in rows]), return_inverse=True)
    return measure.statistics(
        [row.gold for row in rows],
        [row.parsed.value for row in rows],
        [row.subtype.answer_kind for row in rows],
        places.reshape(-1),
    )


# ---- files ----------------------------------------------------------------------------------------------------------


def merge_predictions(examples: Sequence[Example], shard_files: Iterable[Path]) -> dict[str, Prediction]:
    """The predictions of all shards by example id, in the examples' order; every asked id once, none twice or unknown.

    A line needs `example_id` and `text`. Raises UserError naming file:line, or the first example that is missing.
    """
    asked = {example.id for example in examples}
    found: dict[str, tuple[Prediction, str]] = {}
    files = [Path(path) for path in shard_files]
    for path in files:
        for number, row in read_jsonl(path):
            where = f"{path}:{number}"
            prediction = _prediction(row, where)
            if prediction.example_id not in asked:
                raise UserError(
                    where, f"example {prediction.example_id!r} was not asked", "use the predictions of this test file"
                )
            if prediction.example_id in found:
                first = found[prediction.example_id][1]
                raise UserError(
                    where, f"second answer to {prediction.example_id!r} (first: {first})", "keep one of them"
                )
            found[prediction.example_id] = (prediction, where)
    missing = [example.id for example in examples if example.id not in found]
    if missing:
        names = ", ".join(path.name for path in files) or "no files"
        raise UserError(
            files[0].parent if files else "predictions",
            f"{len(missing)} of {len(asked)} examples have no answer, the first is {missing[0]!r} ({names})",
            "evaluate again: it answers what is missing",
        )
    return {example.id: found[example.id][0] for example in examples}


def _prediction(row: Mapping[str, Any], where: str) -> Prediction:
    values = {
        name: row.get(name, default)
        for name, default in (("example_id", None), ("text", None), ("model_id", ""), ("prompt_hash", ""))
    }
    for name, value in values.items():
        if not isinstance(value, str):
            raise UserError(
                where, f"{name} is {'missing' if name not in row else 'no text'}", "see Prediction in records.py"
            )
    return Prediction(**values)


def write_scores(path: Path, scores: Iterable[Score]) -> None:
    """Write `scores.json`, a list of objects with the keys of `Score`, atomically; numbers to six decimals."""
    rows = [
        {
            name: round(value, _DECIMALS) if isinstance(value, float) else value
            for name, value in score.to_json().items()
        }
        for score in scores
    ]
    write_atomic(path, json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_scores(path: Path) -> list[Score]:
    """Read what `write_scores` wrote. Raises UserError naming the file, and the entry that is not a score."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(path, "no such file", "run the report stage") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(path, f"not JSON ({error})", "run the report stage again") from None
    if not isinstance(rows, list):
        raise UserError(path, "not a list of scores", "run the report stage again")
    names = {field.name for field in fields(Score)}
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != names:
            raise UserError(f"{path}: entry {number}", f"needs exactly the keys {', '.join(sorted(names))}")
    return [Score(**row) for row in rows]
