# shellcheck shell=bash disable=SC2154,SC2329
# (variables of the batch script; functions that traps call)
# The host side of a job, outside any container: starts the tasks, hears Slurm's signals, asks Slurm to start it again.
#
# A batch script sets these and sources this file:
#   job_folder     the job's folder in its run
#   exclude        nodes that the cluster's profile keeps away from, as Slurm writes them, or empty
#   grace_seconds  between SIGTERM and the end where Slurm cancels what it preempts; empty where it starts it again itself
#   lead_seconds   between SIGUSR2 and the time limit
#   runtime        what starts the tasks' container: apptainer, docker, podman, pyxis; empty without one
#   caches         array: variable=folder of what libraries keep between starts, for tasks without a home folder
#   meeting_suffix what the first node's name ends in where processes reach it, or empty
#   srun_options   array: options of every srun
#   check          array: the command that checks a node, one task per node, or empty
#   verdict        array: the command that reads what the checks said
#   work           array: the command of every task, or empty where checking is all
#
# An attempt's folder then holds: log-<rank>.txt; stop (why the host was told to stop); exit (srun's exit code). The
# tasks write `requeue` there when they have saved and want to be started again: they cannot ask Slurm themselves,
# because a container has no Slurm client. `error-<rank>` and `crash-<rank>` are a mistake and a bug, which no other start
# mends; `lost-<rank>` is what the process saw of another one's end, or of the container's.

# One element of an array has the array's own number as SLURM_JOB_ID: by that name, Slurm would do it to all of them.
id=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
restart=${SLURM_RESTART_COUNT:-0}
attempt=$job_folder/attempt-$id-$restart
most_exclusions=3
fruitless_starts=3

say() { echo "$(date '+%F %T') $id: $*" >&2; }

# What Slurm thinks of this job: only one that is RUNNING in its eyes may be started again by us. A cancelled one must
# stay so, and a preempted one Slurm starts again itself.
state() { squeue --noheader --jobs="$id" --format=%T 2> /dev/null; }

# Slurm ends this script as soon as it takes the request, so what belongs to it runs deaf to SIGTERM.
requeue() {
    local reason=$1 now_state bad
    now_state=$(state)
    if [[ $now_state != RUNNING ]]; then
        say "not started again by us, Slurm says ${now_state:-nothing}: $reason"
        return
    fi
    say "asks to be started again: $reason"
    (
        trap '' TERM USR2
        for ((try = 1; try <= 5; try++)); do
            scontrol requeue "$id" && break
            sleep "$try"
        done || {
            echo "Slurm refused to start job $id again: submit once more" > "$attempt/error-0"
            exit
        }
        [[ -s $job_folder/bad-nodes ]] || exit
        bad=$(sort -u "$job_folder/bad-nodes" | paste -sd,)
        scontrol update "JobId=$id" "ExcNodeList=$bad${exclude:+,$exclude}"
    )
}

# Asks for what ended before it could. A start that gets to work is noted in starts.jsonl by its tasks, which see by that
# whether the job gets on; of starts that never get so far, nobody but us sees that they are in vain.
requeue_dead() {
    local earlier=$restart
    while ((earlier > restart - fruitless_starts)); do
        if [[ ! -d $job_folder/attempt-$id-$earlier ]] ||
            grep -qs "\"job_id\": \"$id\",.*\"restart\": $earlier," "$job_folder/starts.jsonl"; then
            requeue "$1"
            return
        fi
        ((earlier--))
    done
    echo "job ${job_folder##*/}: ended $fruitless_starts times in a row before it got to work ($1): see its logs" \
        > "$attempt/error-0"
}

# $1: signal, $2: seconds until Slurm ends the job and does not start it again; empty if it does, or nobody knows.
hear() {
    [[ ! -e $attempt/stop ]] || return 0
    say "told to stop ($1)${2:+, $2 s left}"
    echo "$1" > "$attempt/stop"
    # To every task on every node, and not by way of srun: one that has only begun would die of it. With Apptainer a signal
    # to every process may end the one that the container's files come from; tasks look for the file `stop` as well.
    [[ $runtime == apptainer ]] || scancel --signal=USR2 "$id" 2> /dev/null
    [[ -n $2 ]] || return 0
    # Tasks that cannot answer in time, deep in an import or a download, lose what is not saved, but not the run.
    (
        trap - USR2 TERM
        sleep $(($2 * 3 / 4)) && kill -ALRM $$ 2> /dev/null
    ) &
    timer_pid=$!
}

# Before a command, on its node: the job's own folder on the node's disk, and signals that are ignored until Python hears
# them, so that none kills a task that is still importing.
# shellcheck disable=SC2016
start='trap "" USR2 TERM; [[ -z ${TMPDIR-} ]] || mkdir -p "$TMPDIR"; '
# shellcheck disable=SC2016
if [[ $runtime == apptainer ]]; then
    # Slurm warns of preemption with a signal to every process. Where Apptainer mounts without root, that ends its
    # squashfuse, and tasks then die of a bus error, for want of their own files: it is no fault of theirs.
    start+='"$@"; code=$?
        ((code != 135)) || echo "the container lost its files" > "$URBANVLM_ATTEMPT/lost-$SLURM_PROCID"
        exit "$code"'
else
    start+='exec "$@"'
fi

# step [OPTION OF SRUN…] -- COMMAND…: starts it in the background, as srun_pid; `within` may hold a command before srun.
within=()
step() {
    local options=()
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    "${within[@]}" srun --unbuffered --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "${options[@]}" "${srun_options[@]}" \
        bash -c "$start" task "$@" &
    srun_pid=$!
}

# Waits for a step, whatever signals come meanwhile; returns its exit code.
await() {
    while kill -0 "$1" 2> /dev/null; do wait "$1"; done
    wait "$1"
}

# Leaves with a code that is not 0 if the nodes are not fit for the work.
check_nodes() {
    # A check has a time limit of its own, but it may never be launched.
    local code k pid nodes pids=() within=(timeout --kill-after=10 300)
    mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
    mkdir -p "$attempt/check"
    # A step for each node: in one for all, a node that cannot be reached would end the others' checks.
    for k in "${!nodes[@]}"; do
        step --nodes=1 --ntasks=1 --nodelist="${nodes[k]}" -- \
            "${check[@]}" "$attempt" --rank="$k" --of="${#nodes[@]}" > "$attempt/check/${nodes[k]}"
        pids+=("$srun_pid")
    done
    for pid in "${pids[@]}"; do await "$pid"; done
    step --nodes=1 --ntasks=1 -- "${verdict[@]}" "$attempt" "${nodes[*]}" "${nodes[@]/#/$attempt/check/}"
    await "$srun_pid"
    code=$?
    if ((code == 3 && ${#work[@]})); then
        cat "$attempt/bad-nodes" >> "$job_folder/bad-nodes"
        if (($(sort -u "$job_folder/bad-nodes" | wc -l) > most_exclusions)); then
            echo "more than $most_exclusions bad nodes, see $job_folder/bad-nodes" > "$attempt/error-0"
        else
            echo "bad nodes: $(paste -sd, "$attempt/bad-nodes")" > "$attempt/requeue"
        fi
    fi
    return "$code"
}

# Has a task left a file of that kind?
says() { compgen -G "${attempt//[][\\*?]/?}/$1-*" > /dev/null; }

# Does this node have what starts containers?
has_runtime() {
    if [[ $runtime == pyxis ]]; then
        srun --help 2> /dev/null | grep -q -e --container-image
    else
        command -v "$runtime" > /dev/null
    fi
}

has_own_tmpdir() { [[ ${TMPDIR-} == */urbanvlm-$SLURM_JOB_ID ]]; }

finish() {
    [[ -z ${timer_pid:-} ]] || kill "$timer_pid" 2> /dev/null
    echo "$1" > "$attempt/exit"
    rm -rf "$attempt/cache"
    # The job's own folder on each node's disk; there is no time for it when told to stop.
    if has_own_tmpdir && [[ ! -e $attempt/stop ]]; then
        srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 rm -rf "$TMPDIR"
    fi
    if [[ -s $attempt/requeue ]]; then
        requeue "$(< "$attempt/requeue")"
    elif (($1)) && ! says error && ! says crash; then
        if [[ -e $attempt/stop ]]; then
            requeue_dead "the tasks died when told to stop"
        elif says lost || (($1 == 134 || $1 == 141)); then
            # A node died, and not all tasks learn it from Slurm: 134 is NCCL's way to end, 141 srun's.
            requeue_dead "processes of the job lost each other, or their container"
        fi
    fi
    exit "$1"
}

mkdir -p "$attempt" || exit 2
trap 'hear SIGUSR2 "$lead_seconds"' USR2
trap 'hear SIGTERM "$grace_seconds"' TERM
trap 'requeue_dead "the tasks did not end in time"' ALRM
say "starts on $SLURM_JOB_NODELIST, restart $restart"

end=$(squeue --noheader --jobs="$id" --format=%e)
end=$(date --date="$end" +%s 2> /dev/null) && export URBANVLM_END_TIME=$end
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)$meeting_suffix
# Of the shell that submitted: with a port, it would be a place to meet.
unset MASTER_PORT
export MASTER_ADDR URBANVLM_ATTEMPT=$attempt URBANVLM_RENDEZVOUS=$attempt/rendezvous
export URBANVLM_JOB=$id URBANVLM_RESTART=$restart

for cache in "${caches[@]}"; do
    if has_own_tmpdir; then export "${cache%%=*}=$TMPDIR/${cache#*=}"; else export "${cache%%=*}=$attempt/${cache#*=}"; fi
done

if [[ -n $runtime ]] && ! has_runtime; then
    echo "node $(hostname): has no $runtime: in the cluster profile, let setup make it known (module load $runtime)," \
        "or name another container.runtime" > "$attempt/error-0"
    finish 2
fi
if ((${#check[@]})); then check_nodes || finish $?; fi
((${#work[@]})) || finish 0
step --kill-on-bad-exit=1 --output="${attempt//%/%%}/log-%t.txt" -- "${work[@]}"
await "$srun_pid"
finish $?
