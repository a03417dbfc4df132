"""The plan: which jobs, in which order, and the exact text that Slurm would get."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.cluster import Cluster, load_cluster
from slurm.plan import make_plan
from slurm.submit import sbatch_text
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment, load_experiment
from urbanvlm.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"
LOCAL = Cluster(name="local", executor="local")


def demo(*overrides: str) -> Experiment:
    return load_experiment(ROOT / "experiments" / "demo.yaml", overrides)


def test_every_job_comes_after_what_it_needs_and_writes_what_is_its_own() -> None:
    plan = make_plan(demo(), LOCAL)
    names = [job.name for job in plan.jobs]
    assert len(set(names)) == len(names)
    for position, job in enumerate(plan.jobs):
        assert set(job.needs) <= set(names[:position])
    written = [path for job in plan.jobs for path in job.writes]
    assert len(set(written)) == len(written)
    assert not any(Path(path).is_absolute() or ".." in Path(path).parts for path in written)


def test_the_demo_is_evaluate_train_evaluate_for_each_model_then_report() -> None:
    plan = make_plan(demo(), LOCAL)
    assert [job.name for job in plan.jobs] == [
        "synthesize",
        *(f"{stage}" for m in ("blip2", "instructblip", "llava") for stage in
          (f"evaluate-{m}-before", f"train-{m}", f"evaluate-{m}-after")),
        "report",
    ]  # fmt: skip
    jobs = {job.name: job for job in plan.jobs}
    assert jobs["train-llava"].tasks == 2
    assert jobs["evaluate-llava-after"].tasks == 2
    assert jobs["evaluate-llava-after"].needs == ("train-llava",)
    assert set(jobs["report"].needs) == {name for name in jobs if name.startswith("evaluate")}


def test_zero_shot_on_files_has_neither_scenes_nor_training() -> None:
    plan = make_plan(load_experiment(ROOT / "experiments" / "photos.yaml"), LOCAL)
    assert [job.name for job in plan.jobs] == ["evaluate-llava-before", "report"]
    assert plan.jobs[0].needs == ()


def test_a_job_that_no_node_can_hold_is_refused() -> None:
    slurm = Cluster(name="c", executor="slurm", gpus_per_node=2)
    with pytest.raises(UserError, match=r"job train-blip2: asks for 4 GPUs on a node, but a node of cluster c has 2"):
        make_plan(demo("resources.processes=4", "resources.gpus_per_process=1", "train.micro_batch_size=16"), slurm)
    with pytest.raises(UserError, match="cluster local is one machine"):
        make_plan(demo("resources.nodes=2", "train.micro_batch_size=16"), LOCAL)


def test_sbatch_text_is_golden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/opt/venv/bin/python")
    experiment = load_experiment(ROOT / "experiments" / "fine-tune-llava.yaml")
    plan = make_plan(experiment, load_cluster("slurm-example"))
    run = RunFolder(Path("/scratch/runs") / experiment.run_id)
    text = "\n".join(f"===== {job.name}\n{sbatch_text(plan, job, run)}" for job in plan.jobs)
    text = text.replace(str(ROOT), "/checkout").replace(experiment.run_id, "RUN-ID")
    golden = GOLDEN / "fine-tune-llava.sbatch"
    assert text == golden.read_text(encoding="utf-8"), "if the change is meant, write the new text to " + str(golden)


@given(value=st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=30))
def test_hostile_values_reach_the_job_unharmed(value: str) -> None:
    """The setup lines are run by a real shell: what it sees must be what the profile says."""
    cluster = Cluster(name="c", executor="slurm", partition="p", environment={"HOSTILE": value})
    experiment = demo()
    plan = make_plan(experiment, cluster)
    text = sbatch_text(plan, plan.jobs[0], RunFolder(Path("/runs") / experiment.run_id))
    exports = text.partition("# setup\n")[2].rpartition("\n\n# command\n")[0]
    seen = subprocess.run(["bash", "-c", f'{exports}\nprintf %s "$HOSTILE"'], capture_output=True, check=True)
    assert seen.stdout.decode() == value


def test_a_run_folder_with_spaces_quotes_and_dollars_is_quoted(tmp_path: Path) -> None:
    experiment = demo()
    plan = make_plan(experiment, Cluster(name="c", executor="slurm", partition="p"))
    run = RunFolder(Path('/runs/it\'s a $(touch owned) "folder"'))
    command = sbatch_text(plan, plan.jobs[0], run).split("export SUBMITIT_EXECUTOR=slurm\n")[1].strip()
    shown = subprocess.run(
        ["bash", "-c", f'srun() {{ printf "%s\\n" "${{@: -1}}"; }}\n{command}'],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert shown.stdout.strip() == str(run.jobs / "synthesize")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("executor: slurm\npartion: gpu\n", ["partion", "did you mean partition?"]),
        ("executor: pbs\n", ["executor", "'local' or 'slurm'"]),
        ("executor: local\npartition: gpu\n", ["executor local has no partition"]),
        ("executor: slurm\nenvironment: {'A B': x}\n", ["environment", "'A B' is not a variable's name"]),
        ("executor: slurm\ngpus_per_node: many\n", ["gpus_per_node", "valid integer"]),
        ("just text", ["not a mapping"]),
    ],
)
def test_a_mistake_in_a_profile_is_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_cluster(str(path))
    assert all(word in str(caught.value) for word in ("site.yaml", *words)), caught.value


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="did you mean local"):
        load_cluster("locl")
    assert load_cluster("local").executor == "local"
