"""Which further options of sbatch a profile may hold: none that jobs, or the commands that ask of them, rely on."""

from __future__ import annotations

import re
from typing import Any

KEYS = {
    option: key
    for key, options in {
        "partition": "partition",
        "account": "account",
        "qos": "qos",
        "constraint": "constraint",
        "exclude": "exclude",
        "container": "container",
        "gpus_per_node": "gpus gpus-per-node gpus-per-task gpus-per-socket",
        "environment": "export export-file get-user-env",
        "signal_delay_seconds": "signal",
        "resources.timeout_minutes": "time time-min",
        "resources.nodes": "nodes",
        "resources.processes": "ntasks ntasks-per-node ntasks-per-gpu ntasks-per-core ntasks-per-socket tres-per-task",
        "resources.cpus_per_process": "cpus-per-task cpus-per-gpu",
        "memory_request, or resources.memory_gb,": "mem mem-per-cpu mem-per-gpu",
    }.items()
    for option in options.split()
}
"""option -> the profile's key, or the experiment's, that says it instead"""
REASONS = {
    option: reason
    for reason, options in {
        "status, cancel and requeue would ask this cluster of a job that runs on another, and meet whatever job has "
        "its number here: submit on a login node of that cluster": "clusters cluster-constraint",
        "each job has it in its own way": "array chdir dependency error input job-name kill-on-invalid-dep open-mode "
        "output",
        "jobs are started again when they are told to stop": "requeue no-requeue",
        "the job would not be started again when a node dies": "no-kill",
        "submit reads what sbatch prints, and when": "help parsable quiet test-only usage verbose version wait",
        "the job would be another program than ours": "external ignore-pbs wrap",
        "the job would be another user's, who cannot write the run folder": "gid uid",
    }.items()
    for option in options.split()
}
"""option -> why no profile may have it"""
TO_SRUN = ("distribution", "gpu-bind", "hint", "mem-bind", "threads-per-core")
"""where a job's tasks go: sbatch takes it, and it is srun that must be told"""


def check_option(option: Any, argument: Any) -> None:
    """Raise ValueError, with the reason, for one that a profile must not have."""
    if not isinstance(option, str) or not re.fullmatch(r"[a-z][a-z0-9]+(-[a-z0-9]+)*", option):
        hint = str(option).strip("-").replace("_", "-").lower()
        raise ValueError(f"{option!r} is not an option's long name without dashes" + (f": {hint}?" if hint else ""))
    if option in KEYS:
        raise ValueError(f"{option} has a key of its own: give {KEYS[option]} instead")
    if option.startswith(("container-", "no-container-")):
        raise ValueError(f"{option} has a section of its own: give container instead")
    if option in REASONS:
        raise ValueError(f"{option} is not a profile's to say ({REASONS[option]}): remove it")
    # sbatch takes the beginning of an option's name for the option.
    if meant := next((refused for refused in (*KEYS, *REASONS) if refused.startswith(option)), None):
        raise ValueError(f"{option} is no option's whole name, and sbatch may read it as {meant}: write it out")
    if argument is None or argument is False or not isinstance(argument, (str, int)):
        raise ValueError(f"{option} must be text, a whole number or true: put it in quotes, or remove it")
    if option == "gres" and re.search(r"(^|,)(gres[:/])?gpu\b", str(argument)):
        raise ValueError("gres for GPUs has keys of its own: give gpus_per_node and gpu_request: gres instead")
