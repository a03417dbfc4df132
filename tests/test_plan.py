"""The plan: which jobs, in which order, and the exact text that Slurm would get."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm.cluster import Cluster, load_cluster
from slurm.plan import JobSpec, Plan, lead_seconds, make_plan
from slurm.script import sbatch_text
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment, load_experiment
from urbanvlm.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"
CLUSTERS = ROOT / "slurm" / "clusters"
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
        *("evaluate-blip2-before", "evaluate-blip2-before-blank", "train-blip2"),
        *("evaluate-blip2-after", "evaluate-blip2-after-blank"),
        *("evaluate-instructblip-before", "train-instructblip", "evaluate-instructblip-after"),
        *("evaluate-llava-before", "train-llava", "evaluate-llava-after"),
        "report",
    ]
    jobs = {job.name: job for job in plan.jobs}
    assert jobs["train-llava"].tasks == 2
    assert jobs["evaluate-llava-after"].tasks == 2
    assert jobs["evaluate-llava-after"].needs == ("train-llava",)
    assert set(jobs["report"].needs) == {name for name in jobs if name.startswith("evaluate")}


def test_every_kind_of_images_is_a_job_of_its_own_in_every_phase() -> None:
    plan = make_plan(demo("models.2.images=[real, blank, shuffled]", "models.0.images=real"), LOCAL)
    jobs = {job.name: job for job in plan.jobs}
    kinds = ("", "-blank", "-shuffled")
    assert [name for name in jobs if "llava" in name] == [
        *(f"evaluate-llava-before{kind}" for kind in kinds),
        "train-llava",
        *(f"evaluate-llava-after{kind}" for kind in kinds),
    ]
    assert {jobs[f"evaluate-llava-after{kind}"].needs for kind in kinds} == {("train-llava",)}
    assert jobs["evaluate-llava-before-blank"].needs == ("synthesize",)
    assert jobs["evaluate-llava-before-blank"].writes == ("models/llava/evaluate/before-blank/predictions/ (2 shards)",)
    assert len([name for name in jobs if "blip2" in name and "instruct" not in name]) == 3
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


def text_of(plan: Plan, job: JobSpec, run: RunFolder, lead: int = 90) -> str:
    return sbatch_text(plan, job, run, run.snapshots / "SNAPSHOT", lead)


def slurm_plan(**facts: object) -> Plan:
    return make_plan(demo(), Cluster.model_validate({"name": "c", "executor": "slurm", "partition": "p", **facts}))


@pytest.mark.parametrize(
    ("golden", "cluster", "overrides"),
    [
        ("fine-tune-llava", "slurm-example", ()),
        ("fine-tune-llava-two-nodes", "h100", ("resources.nodes=2", "train.gradient_accumulation_steps=1")),
        ("fine-tune-llava-pyxis", "pyxis", ()),
        ("fine-tune-llava-apptainer", "apptainer", ()),
    ],
)
def test_sbatch_text_is_golden(
    monkeypatch: pytest.MonkeyPatch, golden: str, cluster: str, overrides: tuple[str, ...]
) -> None:
    monkeypatch.setattr("sys.executable", "/opt/venv/bin/python")
    monkeypatch.setenv("HF_HUB_CACHE", "/shared/hub")
    monkeypatch.chdir(ROOT)
    experiment = load_experiment(ROOT / "experiments" / "fine-tune-llava.yaml", overrides)
    plan = make_plan(experiment, load_cluster(str(CLUSTERS / f"{cluster}.yaml")))
    run = RunFolder(Path("/scratch/runs") / experiment.run_id)
    text = "\n".join(f"===== {job.name}\n{text_of(plan, job, run)}\n" for job in plan.jobs)
    text = text.replace(str(ROOT), "/checkout").replace(experiment.run_id, "RUN-ID")
    file = GOLDEN / f"{golden}.sbatch"
    assert text == file.read_text(encoding="utf-8"), f"if the change is meant, write the new text to {file}"


def test_on_slurm_an_evaluation_is_an_array_of_its_shards_and_asks_for_one_process() -> None:
    settings = ("evaluate.shards=6", "resources.shards_at_once=4", "resources.memory_gb=7")
    plan = make_plan(demo(*settings), Cluster(name="c", executor="slurm", partition="p"))
    job = next(job for job in plan.jobs if job.name == "evaluate-llava-after")
    assert (job.elements, job.at_once, job.tasks, job.nodes, job.memory_gb) == (6, 4, 1, 1, 4)
    text = text_of(plan, job, RunFolder(Path("/runs/x")))
    assert "#SBATCH --array=0-5%4\n" in text and '--shard "$SLURM_ARRAY_TASK_ID"' in text


@pytest.mark.parametrize(
    ("save_seconds", "timeout_minutes", "lead"), [(None, 60, 90), (10.0, 60, 90), (200.0, 60, 430), (200.0, 4, 120)]
)
def test_the_warning_comes_early_enough_to_save_twice_and_leaves_half_of_the_time(
    save_seconds: float | None, timeout_minutes: int, lead: int
) -> None:
    cluster = Cluster(name="c", executor="slurm", partition="p", signal_delay_seconds=90)
    plan = make_plan(demo(f"resources.timeout_minutes={timeout_minutes}"), cluster)
    train = next(job for job in plan.jobs if job.stage.kind == "train")
    assert lead_seconds(cluster, train, save_seconds) == lead


@given(value=st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=30))
def test_hostile_values_reach_the_job_unharmed(value: str) -> None:
    """The setup lines are run by a real shell: what it sees must be what the profile says."""
    plan = slurm_plan(environment={"HOSTILE": value})
    text = text_of(plan, plan.jobs[0], RunFolder(Path("/runs/x")))
    exports = text.partition("# setup\n")[2].rpartition("\n\n# command\n")[0]
    seen = subprocess.run(["bash", "-c", f'{exports}\nprintf %s "$HOSTILE"'], capture_output=True, check=True)
    assert seen.stdout.decode() == value


HOSTILE_FOLDER = 'it\'s a $(touch owned) "folder" %j; `touch owned` #'


def test_a_run_folder_with_spaces_quotes_and_dollars_is_quoted(tmp_path: Path) -> None:
    plan, run = slurm_plan(), RunFolder(tmp_path / HOSTILE_FOLDER)
    job = plan.jobs[0]
    text = text_of(plan, job, run)
    batch = run.snapshots / "SNAPSHOT" / "slurm" / "batch.sh"
    batch.parent.mkdir(parents=True)
    batch.write_text('printf "%s\\n" "$job_folder" "${work[@]}"\n')
    shown = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True, cwd=tmp_path)
    lines = shown.stdout.splitlines()
    assert lines[0] == str(run.jobs / job.name)
    assert lines[-3:] == ["slurm.job", str(run.path), job.name]
    assert [path.name for path in tmp_path.iterdir()] == [HOSTILE_FOLDER]


def test_a_path_that_a_batch_script_cannot_hold_is_refused() -> None:
    plan = slurm_plan()
    for name in ("two\nlines", "back\\slash"):
        with pytest.raises(UserError, match="choose another folder"):
            text_of(plan, plan.jobs[0], RunFolder(Path("/runs") / name))


def test_no_variable_of_this_shell_is_written_into_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_notforothers")
    plan = slurm_plan()
    for job in plan.jobs:
        assert "hf_notforothers" not in text_of(plan, job, RunFolder(Path("/runs/x")))
