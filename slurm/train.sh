#!/bin/bash
# Trains one environment on any number of nodes; at the time limit, the job is requeued and resumes.
#
#   sbatch --nodes 2 --gpus-per-node 4 --time 12:00:00 slurm/train.sh lab/002
#   sbatch --dependency singleton slurm/train.sh lab/002 --params training.epochs=60
#
# Everything after the environment is passed to `kedro run`. Partition, account and the like are options of sbatch. `kedro slurm --env lab/002 --dry-run` prints the command and this script.
#
#SBATCH --job-name=xview2
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@180
#SBATCH --output=%x-%j.log

set -euo pipefail
# The Python environment is already installed: a hundred nodes must not check it at once, or without a network.
export UV_NO_SYNC=1
environment=${1:?"name the environment: sbatch slurm/train.sh USER/EXPERIMENT"}
shift
cd "${SLURM_SUBMIT_DIR:?"start this with sbatch"}"

# Three minutes before the time limit, the running phase is stopped and the job is requeued. The next start reuses the
# data and resumes after the last finished epoch, so nothing has to be saved here.
stopping=
child=
stop() {
  stopping=yes
  [[ -z $child ]] || kill -TERM "$child" 2>/dev/null || true
}
trap stop USR1

requeue() {
  echo "time is nearly up: job $SLURM_JOB_ID goes back into the queue"
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
}

# Runs one phase, a command with its options. The shell handles a signal only during `wait`, which the signal ends.
# The child then has two minutes to stop, and a second `wait` returns its exit status. An unfinished phase requeues the
# job, and so does the start of the next phase. A signal during the last phase does not requeue a job whose work is done.
phase() {
  local code=0 seconds
  [[ -z $stopping ]] || requeue
  "$@" &
  child=$!
  [[ -z $stopping ]] || stop # the signal came before `child` was set
  wait "$child" || code=$?
  if [[ -n $stopping ]]; then
    for ((seconds = 0; seconds < 120; seconds++)); do
      kill -0 "$child" 2>/dev/null || break
      sleep 1
    done
    kill -KILL "$child" 2>/dev/null || true
    code=0
    wait "$child" || code=$?
  fi
  child=
  ((code == 0)) || [[ -z $stopping ]] || requeue
  ((code == 0)) || exit "$code"
}

# Sets `options` so that a requeued job resumes its run, even if the user asked for a new one: it appends
# training.reuse=true to --params, where the last value of a key counts.
resume() {
  local all=("$@") given=
  options=()
  while (($#)); do
    case $1 in
      --params) given=${2:-} && shift ;;
      --params=*) given=${1#*=} ;;
      # A file may set params itself, which --params would override: a new run is better than other settings.
      -c* | --config | --config=*) options=("${all[@]}") && return ;;
      *) options+=("$1") ;;
    esac
    shift
  done
  options+=(--params "${given:+$given,}training.reuse=true")
}

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
gpus=${SLURM_GPUS_ON_NODE:-0}
# Not every version of srun inherits the number of cores of the job.
on_each_node=(srun --ntasks="$SLURM_NNODES" --ntasks-per-node=1 --kill-on-bad-exit=1
  ${SLURM_CPUS_PER_TASK:+--cpus-per-task "$SLURM_CPUS_PER_TASK"})

# A node with a broken driver would train on its CPU, unnoticed for hours.
look='import socket, sys, torch
detected = torch.cuda.device_count() if torch.cuda.is_available() else 0
if detected < int(sys.argv[1]):
    sys.exit(f"{socket.gethostname()}: Slurm allocated {sys.argv[1]} GPUs, but torch detects {detected}. Check the driver with "
    "nvidia-smi, leave the node out with sbatch --exclude, or ask for no GPU with sbatch --gpus-per-node 0.")'
((gpus == 0)) || phase "${on_each_node[@]}" uv run python -c "$look" "$gpus"

options=("$@")
((${SLURM_RESTART_COUNT:-0} == 0)) || resume "$@"

# One process prepares scenes, masks and store, which needs no GPU; valid results are reused. A new run begins.
phase uv run kedro run --env "$environment" --pipelines data_processing,feature_statistics ${options[@]+"${options[@]}"}
phase "${on_each_node[@]}" \
  uv run torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "$((gpus > 0 ? gpus : 1))" \
  --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:$port" \
  -m kedro run --env "$environment" --pipelines modelling ${options[@]+"${options[@]}"}

phase uv run kedro run --env "$environment" --pipelines reporting "$@"
