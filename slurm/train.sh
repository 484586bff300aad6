#!/bin/bash
# Trains one environment on any number of nodes, and goes on by itself when its time is up.
#
#   sbatch --nodes 2 --gpus-per-node 4 --time 12:00:00 slurm/train.sh lab/002
#   sbatch --dependency singleton slurm/train.sh lab/002 --params training.epochs=60
#
# Everything after the environment goes to `kedro run`. Partition, account and the like are options of sbatch: none is
# written here. `kedro slurm --env lab/002 --dry-run` prints the command and this script.
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
environment=${1:?"name the environment: sbatch slurm/train.sh USER/EXPERIMENT"}
shift
cd "${SLURM_SUBMIT_DIR:?"start this with sbatch"}"

# Three minutes before the time is up: back into the queue. The next start goes on after the last whole epoch, which
# lies in a checkpoint already, so nothing is left to save here.
requeue() {
  echo "time is nearly up: job $SLURM_JOB_ID goes back into the queue"
  scontrol requeue "$SLURM_JOB_ID"
}
trap requeue USR1

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
gpus=${SLURM_GPUS_ON_NODE:-1}

# Scenes, masks and store first, by one process: reading xBD needs no GPU, and what is there is taken over.
uv run kedro run --env "$environment" --pipelines data_processing,feature_statistics "$@" &
wait $!

srun --ntasks="$SLURM_NNODES" --ntasks-per-node=1 --kill-on-bad-exit=1 \
  uv run torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "$gpus" \
  --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$head:$port" \
  -m kedro run --env "$environment" --pipelines modelling "$@" &
# The shell answers a signal only while it waits for a child in the background. A signal ends `wait` early, so it is
# asked again for the child itself.
training=$!
until wait "$training"; do
  code=$?
  kill -0 "$training" 2>/dev/null || exit "$code"
done

uv run kedro run --env "$environment" --pipelines reporting "$@"
