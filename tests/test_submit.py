"""What sbatch is told: what a job waits for, and which nodes it keeps away from."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slurm.bad_nodes import DAYS
from slurm.cluster import Cluster
from slurm.plan import make_plan
from slurm.queue import WIDTHS
from slurm.submit import submit_to_slurm
from urbanvlm.experiment import Experiment, load_experiment
from urbanvlm.run_folder import RunFolder, mark_complete
from urbanvlm.stages import results_of, stages_of

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parent.parent
Submit = Callable[..., dict[str, str]]


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    words = ["models=[{family: blip2}]", "evaluate.shards=3", f"output={tmp_path / 'runs'}"]
    return load_experiment(ROOT / "experiments" / "demo.yaml", words)


@pytest.fixture
def submit(experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submit:
    """Submits the run; returns job -> what its sbatch was told. squeue answers with the rows in `queue`."""
    programs = {
        "sbatch": f"n=$(($(cat {tmp_path}/n 2> /dev/null || echo 100) + 1)); echo $n > {tmp_path}/n\n"
        f'printf "%s " "$@" > {tmp_path}/told-$n; echo $n',
        "sinfo": f"cat {tmp_path}/nodes",
        "scontrol": '[[ "$*" != "show hostnames n[2-3]" ]] || printf "n2\\nn3\\n"',
        "squeue": f"cat {tmp_path}/queue 2> /dev/null; true",
    }
    (tmp_path / "bin").mkdir()
    for name, script in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_CONF", raising=False)
    run = RunFolder.of(experiment)
    run.create()

    def told(**keys: Any) -> dict[str, str]:
        plan = make_plan(experiment, Cluster(**{"name": "site", "executor": "slurm", "partition": "p"} | keys))
        became = {job.name: words for job, words in submit_to_slurm(plan, experiment, run)}
        ids = {name: words.split()[2] for name, words in became.items() if words.startswith("submitted as")}
        return {name: (tmp_path / f"told-{job_id}").read_text() for name, job_id in ids.items()}

    return told


def test_the_elements_of_an_array_are_named_one_by_one(submit: Submit) -> None:
    """Under the array's own name Slurm remembers the worst end of any element, even of one that it started again."""
    told = submit()
    ids = {name: 101 + number for number, name in enumerate(told)}
    assert f"--dependency=afterok:{ids['train-blip2']} " in told["evaluate-blip2-after"], told
    words = told["report"].partition("--dependency=")[2].split()[0].split(",")
    assert sorted(words) == sorted(
        f"afterok:{job}_0:{job}_1:{job}_2" for name, job in ids.items() if "evaluate" in name
    )


def test_of_an_array_only_what_was_submitted_or_is_in_the_queue_is_named(
    submit: Submit, experiment: Experiment, tmp_path: Path
) -> None:
    first = submit()
    stage = next(stage for stage in stages_of(experiment) if stage.name == "evaluate-blip2-before")
    done = results_of(RunFolder.of(experiment), experiment, stage)[1]
    done.parent.mkdir(parents=True)
    done.write_text("")
    mark_complete(done, {})
    told = submit()
    job = 100 + len(first) + 1 + list(told).index(stage.name)
    assert "--array=0,2%" in told[stage.name], told
    assert f"afterok:{job}_0:{job}_2" in told["report"] and f"{job}_1" not in told["report"]
    # The next one finds that array in the queue, but for one element that has just ended.
    values = {"State": "RUNNING", "RestartCnt": "0"}
    row = "".join(
        str({"JobArrayID": f"{job}_2", **values}.get(name, "N/A")).ljust(width) for name, width in WIDTHS.items()
    )
    (tmp_path / "queue").write_text(f"{row}\n")
    told = submit()
    assert stage.name not in told and f"afterok:{job}_2," in told["report"].replace(" ", ",")


# ---- bad nodes ------------------------------------------------------------------------------------------------------


def excluded(run: RunFolder) -> list[str]:
    """What the batch scripts tell sbatch and batch.sh, which must be the same."""
    found = []
    for script in run.jobs.glob("*/job.sbatch"):
        text = script.read_text()
        option = re.search(r"^#SBATCH --exclude=(.*)$", text, re.MULTILINE)
        told = re.search(r"^exclude=(.*)$", text, re.MULTILINE)
        assert told is not None and (option[1].strip("'") if option else "") == told[1].strip("'")
        found.append(told[1].strip("'"))
    return found


def found_bad(run: RunFolder, *lines: str) -> None:
    (run.jobs / "train-blip2").mkdir(parents=True)
    (run.jobs / "train-blip2" / "bad-nodes").write_text("".join(f"{line}\n" for line in lines))


def test_nodes_that_were_bad_lately_are_left_out_from_the_start(
    submit: Submit, experiment: Experiment, tmp_path: Path
) -> None:
    now = int(time.time())
    run = RunFolder.of(experiment)
    days = [f"n2 {now - 60} 7", f"n3 {now - 6 * 86400} 5", f"n4 {now - 8 * 86400} 5"]
    found_bad(run, *days, f"elsewhere {now} 9", "n5", f"n6 {now}", "n7 x 7", "")
    (tmp_path / "nodes").write_text("".join(f"{p} n{k}\n" for k in range(1, 9) for p in ("p", "q")))
    submit()
    assert set(excluded(run)) == {"n2,n3"}


def test_no_node_is_left_out_where_too_few_would_remain(submit: Submit, experiment: Experiment, tmp_path: Path) -> None:
    """Or Slurm would refuse the job for days; it looks at its nodes itself."""
    run = RunFolder.of(experiment)
    found_bad(run, f"n1 {int(time.time())} 7")
    (tmp_path / "nodes").write_text("p n1\nq n2\n")
    submit()
    assert set(excluded(run)) == {""}


@pytest.mark.parametrize(
    ("nodes", "keys", "are_left_out"),
    [
        ("p n1|q n2", {"partition": "p,q"}, True),
        ("p n1|q n1", {"partition": "p,q"}, False),
        ("q n2|q n1", {}, False),
        ("p n1|p n2|p n3|p n4", {"exclude": ("n[2-3]",)}, True),
        ("p n1|p n2|p n3", {"exclude": ("n[2-3]",)}, False),
        ("p n1|p n2|p n3", {"sbatch": {"nodelist": "n1"}}, False),
        ("p n1|p n2|p n3", {"sbatch": {"reservation": "course"}}, False),
    ],
)
def test_how_many_remain_is_counted_where_the_profile_lets_jobs_run(
    submit: Submit, experiment: Experiment, tmp_path: Path, nodes: str, keys: dict[str, Any], are_left_out: bool
) -> None:
    run = RunFolder.of(experiment)
    found_bad(run, f"n1 {int(time.time())} 7")
    (tmp_path / "nodes").write_text(nodes.replace("|", "\n") + "\n")
    submit(**keys)
    assert {"n1" in words.split(",") for words in excluded(run)} == {are_left_out}


def test_the_batch_script_forgets_bad_nodes_as_late_as_submit_does() -> None:
    batch = (ROOT / "slurm" / "batch.sh").read_text()
    assert f"\nexclusion_days={DAYS} " in batch
