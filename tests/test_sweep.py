"""Sweeps: which runs a YAML stands for, which are refused, and how the runs become jobs."""

from __future__ import annotations

import csv
import io
import itertools
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from slurm_support import DevCluster

from slurm.cluster import Cluster
from slurm.plan import Plan, make_plan
from slurm.submission import read_submission
from slurm.submit import JobFailed
from slurm.sweep import MergedJob, array_text, dependency, merge_plans, run_sweep_here, why_failed
from urbanvlm.errors import UserError
from urbanvlm.experiment import load_experiment
from urbanvlm.run_folder import RunFolder, is_complete
from urbanvlm.sweep import Point, Sweep, load_sweep
from urbanvlm.yaml_text import dump_yaml

ROOT = Path(__file__).parent.parent
BASE: dict[str, Any] = {
    "name": "x",
    "mode": "fine-tune",
    "data": {"scenes": {"places": 8}},
    "models": [{"family": "blip2"}],
    "train": {"max_steps": 3, "train_batch_size": 8, "micro_batch_size": 8},
}
FAMILIES = [[{"family": "blip2"}], [{"family": "llava"}]]
COT = {"plain": [False, 16], "cot": [True, 256]}
COT_KEYS = "data.chain_of_thought, evaluate.max_new_tokens"


def write(folder: Path, swept: Any, **keys: Any) -> Path:
    path = folder / "x.yaml"
    path.write_text(dump_yaml({**BASE, **keys, "sweep": swept}), encoding="utf-8")
    return path


def names(sweep: Sweep) -> list[str]:
    return [point.experiment.name for point in sweep.points]


# ---- which runs -----------------------------------------------------------------------------------------------------


def test_a_yaml_without_a_sweep_is_one_run(tmp_path: Path) -> None:
    path = write(tmp_path, None)
    sweep = load_sweep(path, ["seed=3"])
    assert sweep.axes == ()
    assert [point.experiment for point in sweep.points] == [load_experiment(path, ["seed=3"])]
    assert sweep.points[0].settings == {}


def test_names_say_what_differs_models_first_and_seed_last(tmp_path: Path) -> None:
    sweep = load_sweep(write(tmp_path, {"seed": [0, 1], COT_KEYS: COT, "models": FAMILIES}))
    assert names(sweep) == [
        f"x-{family}-{cot}-seed{seed}" for family in ("blip2", "llava") for cot in ("plain", "cot") for seed in (0, 1)
    ]
    assert sweep.points[-1].settings == {
        "models": [{"family": "llava"}],
        "data.chain_of_thought": True,
        "evaluate.max_new_tokens": 256,
        "seed": 1,
    }
    assert sweep.points[-1].experiment.evaluate.max_new_tokens == 256


@pytest.mark.parametrize(
    ("key", "values", "labels"),
    [
        ("data.chain_of_thought", [False, True], ["no-chain-of-thought", "chain-of-thought"]),
        ("train.learning_rate", [1e-4, 0.00002], ["learning-rate0.0001", "learning-rate2e-05"]),
        ("train.lora", {"full": None, "lora": {"rank": 4}}, ["full", "lora"]),
        ("train.lora.rank", [4, 8], ["rank4", "rank8"]),
        ("models.0.checkpoint", ["tiny", "tiny-opt"], ["tiny", "tiny-opt"]),
        ("models.0.checkpoint", ["Salesforce/blip2 opt", "/a/b"], ["Salesforce-blip2-opt", "a-b"]),
        ("data.scenes.headings", [[0], [0, 90]], ["headings0", "headings0_90"]),
        ("train.betas", [[0.9, 0.98], [0.9, 0.999]], ["betas0.9_0.98", "betas0.9_0.999"]),
        ("data.scenes.subtypes", [None, ["count"]], ["no-subtypes", "subtypescount"]),
        ("seed", [2**62], [f"seed{2**62}"]),
    ],
)
def test_values_give_safe_readable_labels(tmp_path: Path, key: str, values: Any, labels: list[str]) -> None:
    assert names(load_sweep(write(tmp_path, {key: values}))) == [f"x-{label}" for label in labels]


def test_a_point_is_the_run_that_one_would_write_by_hand(tmp_path: Path) -> None:
    sweep = load_sweep(write(tmp_path, {"models": FAMILIES, "train.lora.rank": [4]}))
    by_hand = write(tmp_path, None, name="x-llava-rank4", models=FAMILIES[1])
    assert sweep.points[1].experiment == load_experiment(by_hand, ["train.lora.rank=4"])
    assert sweep.points[1].run_id == load_experiment(by_hand, ["train.lora.rank=4"]).run_id


def test_a_value_more_is_a_run_more_and_the_others_stay(tmp_path: Path) -> None:
    few = load_sweep(write(tmp_path, {"models": FAMILIES, "seed": [1]}))
    more = load_sweep(write(tmp_path, {"seed": [2, 1], "models": FAMILIES}))
    assert {point.run_id for point in few.points} < {point.run_id for point in more.points}
    assert few.id != more.id and few.folder.path.parent == more.folder.path.parent


AXES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.lists(st.integers(0, 999), min_size=1, max_size=4, unique=True),
        "train.learning_rate": st.lists(st.sampled_from([1, 0.1, 3e-4, 1e-5]), min_size=1, max_size=3, unique=True),
        "data.chain_of_thought": st.lists(st.booleans(), min_size=1, max_size=2, unique=True),
        "models": st.lists(st.sampled_from(FAMILIES), min_size=1, max_size=2, unique_by=str),
        "evaluate.batch_size, evaluate.max_new_tokens": st.dictionaries(
            st.sampled_from(["a", "b", "c"]), st.tuples(st.integers(1, 9), st.integers(1, 9)).map(list), min_size=1
        ).filter(lambda values: len({*map(tuple, values.values())}) == len(values)),
    },
).filter(bool)


@settings(max_examples=40)
@given(axes=AXES, data=st.data())
def test_the_product_in_any_order_of_the_keys(
    tmp_path_factory: pytest.TempPathFactory, axes: dict[str, Any], data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    sweep = load_sweep(write(folder, axes))
    expected = 1
    for values in axes.values():
        expected *= len(values)
    assert len(sweep.points) == expected
    assert len({point.run_id for point in sweep.points}) == expected
    shuffled = dict(data.draw(st.permutations(list(axes.items()))))
    assert load_sweep(write(folder, shuffled)) == sweep
    assert load_sweep(write(folder, shuffled)).id == sweep.id
    for point in sweep.points:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", point.experiment.name)
        # Every combination stands for itself: what was set is what the experiment has.
        assert point.settings.get("seed", 0) == point.experiment.seed
        assert point.settings.get("data.chain_of_thought", False) == point.experiment.data.chain_of_thought
    turned = {
        key: dict(reversed(values.items())) if isinstance(values, dict) else values[::-1]
        for key, values in axes.items()
    }
    assert {p.run_id for p in load_sweep(write(folder, turned)).points} == {p.run_id for p in sweep.points}
    assert load_sweep(write(folder, turned)).id == sweep.id


def test_keys_that_change_together_may_be_written_in_any_order(tmp_path: Path) -> None:
    one = load_sweep(write(tmp_path, {COT_KEYS: COT}))
    other = load_sweep(
        write(tmp_path, {"evaluate.max_new_tokens , data.chain_of_thought": {"plain": [16, False], "cot": [256, True]}})
    )
    assert one == other


# ---- overrides ------------------------------------------------------------------------------------------------------


def test_an_override_of_a_swept_key_takes_the_place_of_its_values(tmp_path: Path) -> None:
    path = write(tmp_path, {"seed": [0, 1], "models": FAMILIES})
    whole = load_sweep(path)
    assert [p.run_id for p in load_sweep(path, ["seed=1"]).points] == [p.run_id for p in whole.points[1::2]]
    assert names(load_sweep(path, ["seed=7"])) == ["x-blip2-seed7", "x-llava-seed7"]
    assert names(load_sweep(path, ["models=[{family: instructblip}]", "seed=0"])) == ["x-instructblip-seed0"]


def test_an_override_of_one_of_the_keys_that_change_together_chooses_among_their_values(tmp_path: Path) -> None:
    path = write(tmp_path, {COT_KEYS: COT})
    assert names(load_sweep(path, ["data.chain_of_thought=true"])) == ["x-cot"]
    with pytest.raises(UserError, match=r"SET 'evaluate.max_new_tokens=9'.*none of the values.*plain, cot"):
        load_sweep(path, ["evaluate.max_new_tokens=9"])


def test_an_override_inside_a_swept_value_changes_every_value(tmp_path: Path) -> None:
    path = write(tmp_path, {"models": FAMILIES}, models=None)
    sweep = load_sweep(path, ["models.0.precision=bf16"])
    assert [point.experiment.models[0].precision for point in sweep.points] == ["bf16", "bf16"]
    assert sweep.points[1].settings["models"] == [{"family": "llava", "precision": "bf16"}]
    assert {p.run_id for p in sweep.points}.isdisjoint(p.run_id for p in load_sweep(path).points)


def test_an_override_of_the_sweep_itself(tmp_path: Path) -> None:
    path = write(tmp_path, {"seed": [0, 1]})
    assert names(load_sweep(path, ["sweep.seed=[4, 5, 6]"])) == ["x-seed4", "x-seed5", "x-seed6"]
    assert names(load_sweep(path, ["sweep.train.max_steps=[3, 4]", "seed=1"])) == [
        "x-max-steps3-seed1",
        "x-max-steps4-seed1",
    ]
    assert names(load_sweep(path, ["sweep=null"])) == ["x"]
    assert names(load_sweep(write(tmp_path, None), ["sweep.seed=[8]"])) == ["x-seed8"]
    assert yaml.safe_load(path.read_text())["sweep"] is None


def test_other_overrides_reach_every_run(tmp_path: Path) -> None:
    sweep = load_sweep(write(tmp_path, {"seed": [0, 1]}), ["train.max_steps=9", f"output={tmp_path}"])
    assert {point.experiment.train.max_steps for point in sweep.points if point.experiment.train} == {9}
    assert sweep.folder.path == tmp_path / sweep.id


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("swept", "words"),
    [
        ({}, ["sweep", "has no keys"]),
        ([1], ["sweep", "is not a mapping"]),
        ("seed", ["sweep", "is not a mapping"]),
        ({"seed": []}, ["sweep.seed", "has no values"]),
        ({"seed": {}}, ["sweep.seed", "has no values"]),
        ({"seed": None}, ["sweep.seed", "is not a list of values"]),
        ({"seed": 3}, ["sweep.seed", "is not a list of values", "[3]"]),
        ({"sed": [1]}, ["sweep.sed", "unknown key", "did you mean seed?"]),
        ({1: [1]}, ["sweep.1", "unknown key"]),
        ({"": [1]}, ["sweep.", "unknown key"]),
        ({"train.learnin_rate": [1]}, ["sweep.train.learnin_rate", "did you mean learning_rate?"]),
        ({"seed.x": [1]}, ["sweep.seed.x", "unknown key"]),
        ({"models.x.family": [1]}, ["sweep.models.x.family", "unknown key"]),
        ({"models.family": ["llava"]}, ["sweep.models.family", "unknown key"]),
        ({"models.1.family": ["llava"]}, ["sweep.models.1.family", "'1' is not an item of the list"]),
        ({"seed": [1, 2, 1]}, ["sweep.seed", "value 1 is listed twice"]),
        ({"models": [FAMILIES[0], FAMILIES[0]]}, ["sweep.models", "is listed twice"]),
        ({"train.learning_rate": [1, 1.0]}, ["sweep", "x-learning-rate1 and x-learning-rate1.0 are the same"]),
        ({"train.lora.rank": [8], "train.lora": {"a": {"rank": 4}}}, ["train.lora.rank is set by train.lora"]),
        ({"seed": [1], "seed, mode": [[1, "x"]]}, ["seed is set by seed"]),
        ({"seed": list(range(300))}, ["sweep", "300 runs, more than 256"]),
        ({"seed": list(range(20)), "train.max_steps": list(range(1, 15))}, ["sweep", "14 × 20 = 280 runs"]),
        ({"output": ["a", "b"]}, ["sweep.output", "cannot be swept"]),
        ({"name": ["a", "b"]}, ["sweep.name", "cannot be swept"]),
        ({"sweep": [1]}, ["sweep.sweep", "cannot be swept"]),
        ({"seed": ["one"]}, ["x.yaml: sweep: run x-one: seed", "valid integer"]),
        ({"train.lora": [{"rank": 1}]}, ["sweep.train.lora", "needs a label"]),
        ({"seed": {"a/b": 1}}, ["sweep.seed", "label 'a/b' is not a name"]),
        ({"seed": {1: 1}}, ["sweep.seed", "label 1 is not a name"]),
        ({"question": ["a b", "a-b"]}, ["sweep.question", "two values are called a-b"]),
        ({"question": ["?"]}, ["sweep.question", "needs a label"]),
        ({"models.0.checkpoint": ["a" * 70]}, ["sweep", "72 characters, 64 at most", "label"]),
        (
            {"models.0.checkpoint": {"a": "1", "a-b": "2"}, "models.0.revision": {"b-c": "3", "c": "4"}},
            ["sweep", "two runs would be called x-a-b-c"],
        ),
        ({COT_KEYS: [[True, 2], [False]]}, [f"sweep.{COT_KEYS}", "[false] is not a list of 2 values"]),
        ({COT_KEYS: [True]}, [f"sweep.{COT_KEYS}", "true is not a list of 2 values"]),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path: Path, swept: Any, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_sweep(write(tmp_path, swept))
    line = str(caught.value)
    assert line.startswith(str(tmp_path / "x.yaml")) and "\n" not in line
    for word in words:
        assert word in line, line


def test_a_command_that_takes_one_run_refuses_a_sweep(tmp_path: Path) -> None:
    path = write(tmp_path, {"seed": [0, 1]})
    with pytest.raises(UserError, match=r"x\.yaml: sweep: makes several runs.*SET=sweep=null"):
        load_experiment(path)
    assert load_experiment(path, ["sweep=null"]).run_id == load_experiment(write(tmp_path, None)).run_id


def test_a_mistake_outside_the_sweep_is_named_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.yaml.*trian: unknown key; did you mean train\?"):
        load_sweep(write(tmp_path, {"seed": [0]}, trian=3))
    with pytest.raises(UserError, match=r"name"):
        load_sweep(write(tmp_path, {"seed": [0]}, name=None))
    with pytest.raises(UserError, match=r"swep: unknown key; did you mean sweep\?"):
        load_sweep(write(tmp_path, None, swep={"seed": [0]}))


# ---- the folder -----------------------------------------------------------------------------------------------------


def test_the_folder_says_which_run_is_which(tmp_path: Path) -> None:
    sweep = load_sweep(write(tmp_path, {"models": FAMILIES, "train.lora": {"full": None}}, output=str(tmp_path / "r")))
    sweep.folder.write(sweep)
    record = sweep.folder.read()
    assert sweep.folder.path.parent == RunFolder.of(sweep.points[0].experiment).path.parent
    assert [point.run_id for point in record.points] == [point.run_id for point in sweep.points]
    assert [point.settings for point in record.points] == [dict(point.settings) for point in sweep.points]
    assert [point.labels for point in record.points] == [dict(point.labels) for point in sweep.points]


def test_a_folder_that_cannot_be_made_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sweep = load_sweep(write(tmp_path, {"seed": [0]}, output=str(tmp_path / "file")))
    with pytest.raises(UserError, match="cannot be written"):
        sweep.folder.write(sweep)


def test_the_study_is_three_models_with_and_without_a_chain_of_thought() -> None:
    sweep = load_sweep(ROOT / "experiments" / "study.yaml")
    table = {
        (experiment.models[0].checkpoint, experiment.data.chain_of_thought)
        for experiment in (point.experiment for point in sweep.points)
        if experiment.mode == "fine-tune" and experiment.train is not None and experiment.train.lora is not None
    }
    checkpoints = [
        "Salesforce/blip2-flan-t5-xl",
        "Salesforce/instructblip-flan-t5-xl",
        "llava-hf/llava-1.5-7b-hf",
    ]
    assert table == set(itertools.product(checkpoints, (False, True)))
    assert len(sweep.points) == 6
    # The single experiments and the table are to be the same work.
    for point in sweep.points:
        experiment = point.experiment
        suffix = "-cot" if experiment.data.chain_of_thought else ""
        path = ROOT / "experiments" / f"fine-tune-{experiment.models[0].family}{suffix}.yaml"
        if path.is_file():
            alone = load_experiment(path)
            assert experiment.data == alone.data and experiment.models == alone.models
            assert experiment.train == alone.train and experiment.resources == alone.resources
            assert experiment.evaluate.max_new_tokens == alone.evaluate.max_new_tokens


# ---- here -----------------------------------------------------------------------------------------------------------


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def run_here(sweep: Sweep, run_point: Callable[[Point], None]) -> dict[str, str]:
    return run_sweep_here(sweep, run_point, quiet())


def test_a_failing_run_does_not_stop_the_others(tmp_path: Path) -> None:
    from test_comparison import finish

    sweep = load_sweep(write(tmp_path, {"seed": [0, 1, 2, 3]}, output=str(tmp_path / "runs")))
    begun = []

    def run_point(point: Point) -> None:
        begun.append(point.run_id)
        if point.settings["seed"] == 1:
            raise UserError("models.0", "has no <weights>", "download them")
        if point.settings["seed"] == 2:
            raise JobFailed("Traceback\nZeroDivisionError: by zero\njob train-blip2 failed, process 0; logs: …")
        finish(point)

    missing = run_here(sweep, run_point)
    assert begun == [point.run_id for point in sweep.points]
    assert missing == {
        sweep.points[1].run_id: "models.0: has no <weights>; download them",
        sweep.points[2].run_id: "job train-blip2 failed, process 0; logs: …",
    }
    text = sweep.folder.comparison.read_text(encoding="utf-8")
    assert "has no &lt;weights&gt;" in text and "job train-blip2 failed" in text
    assert not is_complete(sweep.folder.comparison)
    assert run_here(sweep, finish) == {}
    assert is_complete(sweep.folder.comparison)


def test_a_run_that_failed_in_a_job_says_what_the_job_said(tmp_path: Path) -> None:
    sweep = load_sweep(write(tmp_path, {"seed": [0]}, output=str(tmp_path / "runs")))
    experiment = sweep.points[0].experiment
    run = RunFolder.of(experiment)
    assert why_failed(run) == ""
    run.create()
    run.write_experiment(experiment)
    assert why_failed(run) == ""
    attempt = run.jobs / "train-blip2" / "attempt-001"
    attempt.mkdir(parents=True)
    (attempt / "crash-0").write_text("Traceback (most recent call last):\nZeroDivisionError: by zero\n")

    def fail(point: Point) -> None:
        raise JobFailed("another word")

    assert run_here(sweep, fail) == {run.id: "train-blip2: ZeroDivisionError: by zero"}


def test_a_stopped_command_stops_the_sweep(tmp_path: Path) -> None:
    sweep = load_sweep(write(tmp_path, {"seed": [0, 1]}, output=str(tmp_path / "runs")))
    begun = []

    def interrupt(point: Point) -> None:
        begun.append(point)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_here(sweep, interrupt)
    assert len(begun) == 1


# ---- on Slurm -------------------------------------------------------------------------------------------------------

SLURM = Cluster(name="c", executor="slurm", partition="p")


def plans_of(folder: Path, swept: Mapping[str, Any], **keys: Any) -> list[Plan]:
    return [make_plan(point.experiment, SLURM) for point in load_sweep(write(folder, dict(swept), **keys)).points]


def shape(merged: list[MergedJob]) -> list[tuple[str, tuple[int, ...]]]:
    return [(one.job.name, one.points) for one in merged]


def test_alike_jobs_of_several_runs_become_one_array(tmp_path: Path) -> None:
    merged = merge_plans(plans_of(tmp_path, {"seed": [0, 1]}, evaluate={"shards": 4}))
    assert sorted(shape(merged)) == [
        ("evaluate-blip2-after", (0,)),
        ("evaluate-blip2-after", (1,)),
        ("evaluate-blip2-before", (0,)),
        ("evaluate-blip2-before", (1,)),
        ("report", (0,)),
        ("report", (1,)),
        ("synthesize", (0, 1)),
        ("train-blip2", (0, 1)),
    ]
    words = dict(zip(shape(merged), dependencies(merged), strict=True))
    ids = {one: str(100 + number) for number, one in enumerate(words)}
    synthesize, train = ids["synthesize", (0, 1)], ids["train-blip2", (0, 1)]
    assert words["synthesize", (0, 1)] is None
    assert words["train-blip2", (0, 1)] == f"aftercorr:{synthesize}"
    assert words["evaluate-blip2-before", (1,)] == f"afterok:{synthesize}_1"
    assert words["evaluate-blip2-after", (0,)] == f"afterok:{train}_0"
    both = {ids["evaluate-blip2-before", (1,)], ids["evaluate-blip2-after", (1,)]}
    assert words["report", (1,)] is not None
    assert set(words["report", (1,)].split(",")) == {f"afterok:{job_id}" for job_id in both}


def dependencies(merged: list[MergedJob]) -> list[str | None]:
    ids = [str(100 + number) for number in range(len(merged))]
    return [dependency(one, merged, ids[:number]) for number, one in enumerate(merged)]


def test_more_runs_than_an_array_may_have_are_several_arrays(tmp_path: Path) -> None:
    merged = merge_plans(plans_of(tmp_path, {"seed": [0, 1, 2, 3, 4]}), most_elements=2)
    synthesize = [one for one in merged if one.job.name == "synthesize"]
    assert [(one.points, [one.element(k) for k in one.points]) for one in synthesize] == [
        ((0, 1), [0, 1]),
        ((2, 3), [0, 1]),
        ((4,), [0]),
    ]
    words = dict(zip(shape(merged), dependencies(merged), strict=True))
    of = {points: 100 + shape(merged).index(("synthesize", points)) for points in ((0, 1), (2, 3), (4,))}
    assert words["train-blip2", (2, 3)] == f"aftercorr:{of[2, 3]}"
    assert words["train-blip2", (4,)] == f"afterok:{of[4,]}"
    assert words["evaluate-blip2-before", (3,)] == f"afterok:{of[2, 3]}_1"


def test_runs_that_ask_for_something_else_are_no_array(tmp_path: Path) -> None:
    merged = merge_plans(plans_of(tmp_path, {"models": FAMILIES}))
    assert ("synthesize", (0, 1)) in shape(merged)
    assert ("train-blip2", (0,)) in shape(merged) and ("train-llava", (1,)) in shape(merged)
    merged = merge_plans(plans_of(tmp_path, {"resources.memory_gb": [5, 6]}))
    assert all(len(one.points) == 1 for one in merged)


def test_a_single_run_waits_for_its_element_of_the_array(tmp_path: Path) -> None:
    merged = merge_plans(plans_of(tmp_path, {"models": FAMILIES}))
    words = dict(zip(shape(merged), dependencies(merged), strict=True))
    assert words["train-llava", (1,)] == f"afterok:{100 + shape(merged).index(('synthesize', (0, 1)))}_1"


def test_what_is_done_is_not_submitted_again(tmp_path: Path) -> None:
    plans = plans_of(tmp_path, {"seed": [0, 1, 2]})
    done = {(0, job.name) for job in plans[0].jobs} | {(1, "synthesize")}
    merged = merge_plans(plans, done)
    assert all(0 not in one.points for one in merged)
    # Run 1 need not wait for anything, run 2 does: they cannot be one array.
    words = dict(zip(shape(merged), dependencies(merged), strict=True))
    assert words["train-blip2", (1,)] is None
    assert words["train-blip2", (2,)] == f"afterok:{100 + shape(merged).index(('synthesize', (2,)))}"
    everything = {(k, job.name) for k, plan in enumerate(plans) for job in plan.jobs}
    assert merge_plans(plans, everything) == []


def test_what_is_in_the_queue_is_waited_for(tmp_path: Path) -> None:
    plans = plans_of(tmp_path, {"seed": [0, 1]})
    queued = {(0, "synthesize"): "77_0", (1, "synthesize"): "78", (1, "train-blip2"): "79"}
    merged = merge_plans(plans, (), queued)
    words = dict(zip(shape(merged), dependencies(merged), strict=True))
    assert words["train-blip2", (0,)] == "afterok:77_0"
    assert words["evaluate-blip2-before", (1,)] == "afterok:78"
    assert words["evaluate-blip2-after", (1,)] == "afterok:79"
    assert ("train-blip2", (1,)) not in words


@settings(max_examples=40)
@given(st.data())
def test_every_job_is_submitted_once_after_all_that_it_needs(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    swept = data.draw(st.sampled_from([{"seed": [0, 1, 2]}, {"models": FAMILIES, "seed": [0, 1]}]))
    plans = plans_of(folder, swept)
    places = [(k, job.name) for k, plan in enumerate(plans) for job in plan.jobs]
    done: set[tuple[int, str]] = set()
    for k, plan in enumerate(plans):
        for job in plan.jobs:
            if all((k, name) in done for name in job.needs) and data.draw(st.booleans()):
                done.add((k, job.name))
    left = [place for place in places if place not in done]
    queued = {
        place: f"7{n}" for n, place in enumerate(data.draw(st.lists(st.sampled_from(left or [None]), unique=True)))
    }
    queued.pop(None, None)
    most = data.draw(st.sampled_from([None, 1, 2, 3, 1001]))
    merged = merge_plans(plans, done, queued, most)
    for one in merged:
        assert len({one.element(k) for k in one.points}) == len(one.points)
        assert all(0 <= one.element(k) < (most or 1001) for k in one.points), "what Slurm allows as an element's number"
    submitted = [(k, one.job.name) for one in merged for k in one.points]
    assert sorted(submitted) == sorted(set(left) - set(queued))
    made = {(k, one.job.name): number for number, one in enumerate(merged) for k in one.points}
    for number, (one, words) in enumerate(zip(merged, dependencies(merged), strict=True)):
        for k in one.points:
            # What Slurm is told covers each need of each element, and nothing else.
            expected = set()
            for need in one.job.needs:
                if (k, need) in queued:
                    expected.add(f"afterok:{queued[k, need]}")
                elif (k, need) in made:
                    earlier = merged[made[k, need]]
                    assert made[k, need] < number
                    job_id = 100 + made[k, need]
                    if len(earlier.points) > 1:
                        assert set(one.points) <= set(earlier.points) and one.element(k) == earlier.element(k)
                        single = f"afterok:{job_id}_{earlier.element(k)}"
                        expected.add(f"aftercorr:{job_id}" if len(one.points) > 1 else single)
                    else:
                        expected.add(f"afterok:{job_id}")
            assert set(words.split(",") if words else ()) == expected


def test_an_arrays_script_runs_the_script_of_its_run_and_nothing_that_a_name_says(tmp_path: Path) -> None:
    hostile = tmp_path / "a'b $(touch owned) \"c"
    scripts = {}
    for number in (0, 3):
        folder = hostile / str(number)
        folder.mkdir(parents=True)
        scripts[number] = folder / "job.sbatch"
        scripts[number].write_text(f"#!/bin/bash\n#SBATCH --signal=B:USR2@{60 + number}\necho run {number} $$\n")
    first = "#!/bin/bash\n#SBATCH --job-name=x\n#SBATCH --output=/x\n#SBATCH --mem=1GB\n#SBATCH --signal=B:USR2@{}\n"
    text = array_text([first.format(90), first.format(120)], scripts, "s/$(touch owned)", hostile)
    assert "--signal=B:USR2@120" in text and "@90" not in text
    assert text.count("--job-name") == text.count("--output") == 1 and "--mem=1GB" in text
    script = tmp_path / "array.sbatch"
    script.write_text(text)
    environment = {"PATH": "/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_JOB_ID": "55"}
    done = subprocess.Popen(["bash", str(script)], env=environment, cwd=tmp_path)
    assert done.wait(timeout=60) == 0
    # exec: the script is the very process that Slurm started.
    assert (hostile / "3" / "batch-55_3.txt").read_text() == f"run 3 {done.pid}\n"
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.slurm
@pytest.mark.timeout(900)
def test_a_sweep_on_slurm_loses_one_run_and_gets_it_back(slurm_cluster: DevCluster, tmp_path: Path) -> None:
    scenes = {"places": 12, "image_size": 64, "test_share": 0.3, "validation_share": 0.2, "examples_per_subtype": 6}
    path = write(
        tmp_path,
        {"seed": [0, 1]},
        output=str(tmp_path / "runs"),
        data={"scenes": scenes},
        evaluate={"max_new_tokens": 4, "bootstrap_resamples": 50},
        resources={"memory_gb": 2},
    )
    sweep = load_sweep(path)
    kept, lost = (RunFolder.of(point.experiment) for point in sweep.points)

    def submit() -> str:
        return slurm_cluster.run(sys.executable, "-m", "slurm", "submit", path, "--cluster", "slurm-dev")

    said = submit()
    assert len(re.findall(r"array of 2 runs, submitted as", said)) == 2
    synthesize = read_submission(lost, "synthesize")
    assert synthesize is not None and synthesize.index == 1
    slurm_cluster.run("scancel", f"{synthesize.job_id}_1")
    slurm_cluster.wait_until(lambda: not slurm_cluster.run("squeue", "-h"), 400)
    missing = rows_of(sweep, "missing")
    assert is_complete(kept.scores) and not is_complete(lost.dataset)
    assert missing[lost.id] and not missing[kept.id]
    assert not is_complete(sweep.folder.comparison)

    before = kept.scores.stat().st_mtime_ns
    said = submit()
    assert "array of" not in said and kept.id not in said.partition("synthesize")[2]
    assert "in the queue as" in submit().splitlines()[-2]
    slurm_cluster.wait_until(lambda: not slurm_cluster.run("squeue", "-h"), 400)
    assert not any(rows_of(sweep, "missing").values())
    assert is_complete(sweep.folder.comparison)
    assert kept.scores.stat().st_mtime_ns == before


def rows_of(sweep: Sweep, column: str) -> dict[str, str]:
    """run id -> that column of the comparison's table"""
    with sweep.folder.table.open(encoding="utf-8", newline="") as lines:
        return {row["run"]: row[column] for row in csv.DictReader(lines)}
