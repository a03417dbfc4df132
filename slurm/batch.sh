# shellcheck shell=bash disable=SC2154,SC2329
# (variables of the batch script; functions that traps call)
# The host side of a job, outside any container: starts the tasks, hears Slurm's signals, asks Slurm to start it again.
#
# A batch script sets these and sources this file:
#   job_folder     the job's folder in its run
#   exclude        nodes that the cluster's profile keeps away from, as Slurm writes them, or empty
#   grace_seconds  between SIGTERM and the end where Slurm cancels what it preempts; empty where it starts it again itself
#   lead_seconds   between SIGUSR2 and the time limit
#   runtime        what starts the tasks' container: apptainer, singularity, docker, podman, pyxis; empty without one
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
# mends; `lost-<rank>` is what the process saw of another one's end, or of the container's; `lost-check` says that Slurm
# did not start the check of the nodes.

# One element of an array has the array's own number as SLURM_JOB_ID: by that name, Slurm would do it to all of them.
id=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
restart=${SLURM_RESTART_COUNT:-0}
attempt=$job_folder/attempt-$id-$restart
most_exclusions=3
exclusion_days=7 # as in slurm/bad_nodes.py
fruitless_starts=3
tries=8
cleaning_seconds=30

# What the profile's setup may have asked of its own lines (`set -e`) is not for these: a client of Slurm that fails is
# no reason to end. Nor may a variable make squeue leave this job out. An EXIT trap stays: it cleans up after the setup.
set +euCfT +o pipefail
trap - ERR DEBUG
unset "${!SQUEUE_@}" SLURM_TIME_FORMAT SLURM_CLUSTERS IFS

say() { echo "$(date '+%F %T') $id: $*" >&2; }

# A client of Slurm, which may answer late, wrongly or not at all: nothing that one says or fails to say ends a job.
ask() { timeout --kill-after=5 10 "$@" 2> /dev/null; }

# $1: how often something was tried in vain. Signals are heard meanwhile.
pause() {
    local sleeper
    sleep "$(($1 < 5 ? 1 << ($1 - 1) : 15))" &
    sleeper=$!
    wait "$sleeper"
}

# What Slurm thinks of this job, in a word; empty if it gives no answer.
state() {
    local word
    word=$(ask squeue --noheader --jobs="$id" --format=%T)
    [[ -n $word ]] || word=$(ask scontrol --oneliner show job "$id" | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p')
    echo "${word%%$'\n'*}"
}

# When Slurm will end this job, in Unix seconds; empty if it does not say. `date` takes an empty word for midnight.
end_time() {
    local word
    word=$(ask squeue --noheader --jobs="$id" --format=%e)
    [[ -z $word ]] || date --date="$word" +%s 2> /dev/null
}

# Has Slurm given this job a nearer end than it had? So it does with one that must make way, and tells the tasks alone.
is_cut_short() {
    local now_end
    now_end=$(end_time)
    [[ -n $end && -n $now_end ]] && ((now_end + 5 < end && now_end < $(date +%s) + 3600))
}

# Only a job that runs in Slurm's eyes, be it while it gets a signal, may be started again by us. A preempted one Slurm
# starts again itself, and a cancelled one must stay so: Slurm would start that again, too. So without an answer it is
# asked again for a while, and then the request is made nevertheless, but not where Slurm itself told the job to end.
requeue() {
    local reason=$1 now_state said='no answer' asked='' try
    for ((try = 0; try < tries; try++)); do
        ((try == 0)) || pause "$try"
        now_state=$(state)
        if [[ -n $now_state && $now_state != @(RUNNING|SIGNALING) ]]; then
            [[ -n $asked ]] || say "not started again by us, Slurm says $now_state: $reason"
            exclude_bad_nodes
            return
        fi
        [[ -n $now_state ]] || { ((try >= 2)) && [[ ! -e $attempt/stop || $(< "$attempt/stop") != SIGTERM ]]; } || continue
        [[ -n $asked ]] || say "asks to be started again: $reason"
        asked=yes
        said=$(request) && return
    done
    said=$(tail -n 1 <<< "$said")
    echo "Slurm refused to start job $id again (${said:-no answer}): submit once more" > "$attempt/error-0"
    say "not started again (${said:-no answer}): $reason"
}

# Slurm ends this script as soon as it takes the request, so what belongs to it runs deaf to SIGTERM.
request() (
    trap '' TERM USR2
    timeout --kill-after=5 20 scontrol requeue "$id" 2>&1 && exclude_bad_nodes >&2
)

exclude_bad_nodes() {
    local bad try
    bad=$(bad_nodes | paste -sd,)
    [[ -n $bad ]] || return 0
    for ((try = 1; try <= 5; try++)); do
        ask scontrol update "JobId=$id" "ExcNodeList=$bad${exclude:+,$exclude}" && return
        sleep 1
    done
}

# Found by this job; those that were known when it was submitted are in `exclude`. A line of the file: node, Unix
# seconds, job.
bad_nodes() {
    local node when job
    [[ -s $job_folder/bad-nodes ]] || return 0
    while read -r node when job; do
        [[ $job != "$id" ]] || (($(date +%s) - when > exclusion_days * 86400)) || echo "$node"
    done < "$job_folder/bad-nodes" | sort -u
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
    [[ $runtime == @(apptainer|singularity) ]] || ask scancel --signal=USR2 "$id" &
    [[ -n $2 ]] || return 0
    # Tasks that cannot answer in time, deep in an import or a download, lose what is not saved, but not the run.
    (
        trap 'kill "$!" 2> /dev/null; exit' USR2 TERM
        sleep $(($2 * 3 / 4)) &
        wait "$!" && kill -ALRM $$ 2> /dev/null
    ) &
    timer_pid=$!
}

# Before a command, on its node: the job's own folder on the node's disk, and signals that are ignored until Python hears
# them, so that none kills a task that is still importing.
# shellcheck disable=SC2016
start='trap "" USR2 TERM; [[ -z ${TMPDIR-} ]] || mkdir -p "$TMPDIR"; '
# shellcheck disable=SC2016
if [[ $runtime == @(apptainer|singularity) ]]; then
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

# Has the check of the node begun?
was_checked() { [[ -s $attempt/check/$1 ]]; }

# One node, in the background. Its check has a time limit of its own, but it may never be launched: by a controller that
# is busy, or since the node cannot be reached. The others wait for it for a while.
check_node() {
    local k=$1 try began=$SECONDS within=(timeout --kill-after=10 300)
    # Not what `hear` does, and not an end either.
    trap : USR2 TERM
    for ((try = 0; try < 4; try++)); do
        ((try == 0)) || pause $((try + 2))
        [[ ! -e $attempt/stop ]] || return
        # shellcheck disable=SC2016
        step --nodes=1 --ntasks=1 --nodelist="${nodes[k]}" -- bash -c 'echo begins; exec "$@"' check \
            "${check[@]}" "$attempt" --rank="$k" --of="${#nodes[@]}" > "$attempt/check/${nodes[k]}"
        await "$srun_pid"
        # One that cannot be reached takes its time; the others do not wait for it any more.
        ! was_checked "${nodes[k]}" && ((SECONDS - began < 60)) || return
    done
}

# Leaves with a code that is not 0 if the nodes are not fit for the work.
check_nodes() {
    local code=1 k node pid pids=() unchecked=() try within=(timeout --kill-after=10 300)
    ((${#nodes[@]})) || { say "the nodes are not checked: scontrol does not name them" && return 0; }
    mkdir -p "$attempt/check"
    # A step for each node: in one for all, a node that cannot be reached would end the others' checks.
    for k in "${!nodes[@]}"; do
        check_node "$k" &
        pids+=("$!")
    done
    for pid in "${pids[@]}"; do await "$pid"; done
    for node in "${nodes[@]}"; do was_checked "$node" || unchecked+=("$node"); done
    [[ ! -e $attempt/stop ]] || return 1
    # This script runs on the first node: where nothing begins on that one either, it is no node's fault.
    if ((${#unchecked[@]} && ${#work[@]})) && { ! was_checked "${nodes[0]}" || [[ -z $(state) ]]; }; then
        echo "Slurm did not start the check on ${unchecked[*]}" > "$attempt/lost-check"
        return 1
    fi
    for ((try = 0; try < tries; try++)); do
        ((try == 0)) || pause "$try"
        step --nodes=1 --ntasks=1 -- "${verdict[@]}" "$attempt" "${nodes[*]}" "${nodes[@]/#/$attempt/check/}"
        await "$srun_pid"
        code=$?
        [[ ! -e $attempt/stop && ! -e $attempt/preflight.json ]] || break
    done
    if ((code == 3 && ${#work[@]})); then
        sed "s/\$/ $(date +%s) $id/" "$attempt/bad-nodes" >> "$job_folder/bad-nodes"
        if (($(bad_nodes | wc -l) > most_exclusions)); then
            echo "more than $most_exclusions bad nodes, see $job_folder/bad-nodes" > "$attempt/error-0"
        else
            echo "bad nodes: $(paste -sd, "$attempt/bad-nodes")" > "$attempt/requeue"
        fi
    elif ((code)) && [[ ! -e $attempt/preflight.json ]]; then
        echo "Slurm did not start the judgement of the checks" > "$attempt/lost-check"
    fi
    return "$code"
}

# The tasks. An srun that gets no answer of a busy controller is tried again: it is not the tasks' failure.
do_work() {
    local code try
    for ((try = 0; try < tries; try++)); do
        ((try == 0)) || pause "$try"
        [[ ! -e $attempt/stop ]] || return 1
        step --kill-on-bad-exit=1 --output="${attempt//%/%%}/log-%t.txt" -- "${work[@]}"
        await "$srun_pid"
        code=$?
        # Slurm makes a task's log when it launches it.
        ((code)) && ! says log || return "$code"
    done
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

# Of the job's own folder on each node's disk nothing stays. A node that is gone keeps nobody waiting for long.
clean() {
    local node pid pids=() command=(timeout --kill-after=5 "$cleaning_seconds")
    for node in "${nodes[@]}"; do
        if [[ $node == "${SLURMD_NODENAME:-}" ]]; then
            "${command[@]}" rm -rf "$TMPDIR" &
        else
            "${command[@]}" srun --nodes=1 --ntasks=1 --nodelist="$node" rm -rf "$TMPDIR" &
        fi
        pids+=("$!")
    done
    for pid in "${pids[@]}"; do await "$pid"; done
}

# Do we know why it ended?
has_reason() { [[ -s $attempt/requeue || -e $attempt/stop ]] || says error || says crash || says lost; }

# Has Slurm launched every task?
are_launched() {
    local logs
    mapfile -t logs < <(compgen -G "${attempt//[][\\*?]/?}/log-*")
    ((${#logs[@]} >= ${SLURM_JOB_NUM_NODES:-1} * ${SLURM_NTASKS_PER_NODE:-1}))
}

finish() {
    local second
    echo "$1" > "$attempt/exit"
    rm -rf "$attempt/cache"
    # A signal of Slurm's may end a container before it gets here.
    for ((second = 0; second < 5; second++)); do
        (($1 == 0 || ${#work[@]} == 0)) || has_reason || pause 1
    done
    [[ -z ${timer_pid:-} ]] || kill "$timer_pid" 2> /dev/null
    # There is no time for it when told to stop.
    if has_own_tmpdir && [[ ! -e $attempt/stop ]]; then clean; fi
    if [[ -s $attempt/requeue ]]; then
        requeue "$(< "$attempt/requeue")"
    elif (($1)) && ! says error && ! says crash; then
        if [[ -e $attempt/stop ]] || is_cut_short; then
            requeue_dead "the tasks died when told to stop"
        elif [[ -e $attempt/lost-check ]]; then
            requeue_dead "$(< "$attempt/lost-check")"
        elif says lost || (($1 == 134 || $1 == 141)); then
            # A node died, and not all tasks learn it from Slurm: 134 is NCCL's way to end, 141 srun's.
            requeue_dead "processes of the job lost each other, or their container"
        elif ((${#work[@]})) && ! are_launched; then
            requeue_dead "Slurm did not launch all tasks"
        fi
    fi
    exit "$1"
}

mkdir -p "$attempt" || exit 2
trap 'hear SIGUSR2 "$lead_seconds"' USR2
trap 'hear SIGTERM "$grace_seconds"' TERM
trap 'requeue_dead "the tasks did not end in time"' ALRM
say "starts on $SLURM_JOB_NODELIST, restart $restart"

# Newer versions of Slurm say it by themselves.
end=${SLURM_JOB_END_TIME:-}
[[ $end =~ ^[0-9]+$ ]] || end=$(end_time)
if [[ -n $end ]] && ((end > $(date +%s))); then export URBANVLM_END_TIME=$end; else unset URBANVLM_END_TIME; fi
mapfile -t nodes < <(ask scontrol show hostnames "$SLURM_JOB_NODELIST")
# This script runs on the first one.
MASTER_ADDR=${nodes[0]:-${SLURMD_NODENAME:-$(hostname)}}$meeting_suffix
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
do_work
finish $?
