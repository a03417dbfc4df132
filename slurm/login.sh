# shellcheck shell=bash
# A login's environment for a batch script, whatever shell submitted it: sourced before anything else of the job.
#
# `submit` hands next to nothing of its own environment to sbatch. By hand, or from inside another job, all of a shell's
# variables come along: those that would lead srun, Python or processes that meet astray go.

# Slurm tells the job of what it asked for in some of the variables from which srun takes its options, too. Left over from
# another job, they contradict this one's; what a profile wants of them, srun is told in words.
unset "${!SRUN_@}" "${!SBATCH_@}" "${!SALLOC_@}" "${!SQUEUE_@}" "${!SCANCEL_@}" \
    "${!SLURM_MEM_PER_@}" "${!SLURM_CPU_BIND@}" "${!SLURM_MEM_BIND@}" "${!SLURM_GPU_BIND@}" "${!SLURM_STEP_@}" \
    SLURM_DISTRIBUTION SLURM_HINT SLURM_THREADS_PER_CORE SLURM_TRES_BIND \
    SLURM_EXACT SLURM_EXCLUSIVE SLURM_OVERLAP SLURM_WHOLE SLURM_IMMEDIATE SLURM_TIMELIMIT SLURM_TIME_FORMAT \
    SLURM_KILL_BAD_EXIT SLURM_WAIT SLURM_NO_KILL SLURM_MPI_TYPE SLURM_MULTI_PROG SLURM_LABELIO SLURM_OPEN_MODE \
    SLURM_STDINMODE SLURM_STDOUTMODE SLURM_STDERRMODE SLURM_REMOTE_CWD SLURM_WORKING_DIR \
    SLURM_TASK_PROLOG SLURM_TASK_EPILOG \
    SLURM_GPUS SLURM_GPUS_PER_SOCKET SLURM_GPUS_PER_TASK SLURM_CPUS_PER_GPU SLURM_GRES SLURM_HOSTFILE \
    SLURM_NTASKS_PER_GPU SLURM_NTASKS_PER_TRES SLURM_NTASKS_PER_CORE SLURM_NTASKS_PER_SOCKET
# For the one who submits. The job's clients ask the controller of the node that they run on; with it, the accounting.
unset SLURM_CLUSTERS
# With these srun would keep the job's variables from its tasks, and with that one they could speak for the user.
unset SLURM_EXPORT_ENV SLURM_GET_USER_ENV SLURM_JWT

unset "${!PYTHON@}" "${!URBANVLM_@}" "${!SUBMITIT_@}" "${!TORCHELASTIC_@}" VIRTUAL_ENV LD_LIBRARY_PATH LD_PRELOAD \
    MASTER_ADDR MASTER_PORT RANK LOCAL_RANK WORLD_SIZE LC_ALL

# What the system does at each login makes `module` known. The mask of new files is the user's to choose, not its, and the
# folder is the job's.
submitted_path=$PATH submitted_mask=$(umask) submitted_folder=$PWD
# shellcheck disable=SC1091
[[ ! -r /etc/profile ]] || source /etc/profile < /dev/null
umask "$submitted_mask"
builtin cd -- "$submitted_folder" || true
command -v srun > /dev/null || PATH=$PATH:$submitted_path
export PATH USER="${USER:-${SLURM_JOB_USER-}}"
unset submitted_path submitted_mask submitted_folder
