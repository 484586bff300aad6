#!/usr/bin/env bash
# Checks this project on a GPU and writes a page of results: about 20 minutes on an H100.
#
#   scripts/check_gpu.sh [FOLDER]                the page is FOLDER/report.md; default: data/gpu_check
#   PYTHON=python3 scripts/check_gpu.sh FOLDER   with another Python than that of `uv run`
#
# Speeds are `measured`, for a person to compare with the expected ones; all other checks pass or fail. Finished checks
# are not repeated: the same command resumes; delete FOLDER/CHECK.log to repeat one. Without a GPU, the checks that need
# none run with a tiny net. All files stay in FOLDER.
set -uo pipefail
cd "$(dirname "$0")/.."
here=$PWD
mkdir -p "${1:-data/gpu_check}" && out=$(cd "${1:-data/gpu_check}" && pwd)
python=${PYTHON:-$(uv run python -c 'import sys; print(sys.executable)')} || exit
export DO_NOT_TRACK=1 COLUMNS=220

facts=$("$python" -c 'import torch
gpus = torch.cuda.device_count()
print(gpus, torch.__version__, torch.cuda.get_device_name() if gpus else "no GPU")') || exit
read -r gpus torch device <<<"$facts"
net=(resnet50 512 16) benchmark=(--steps 10 --scenes 16 --batch 16)
((gpus)) || net=(tu-test_resnet 64 2) benchmark=(--encoder tu-test_resnet --side 64 --size 64 --steps 2 --scenes 3 --batch 2)
settings=(
  "dataset.sample.size=${net[1]}" "model.encoder.name=${net[0]}" model.encoder.weights.source=none
  "training.crop=${net[1]}" "training.batch_size=${net[2]}" training.crops_per_scene=4 training.localization_epochs=0
  training.epochs=2 training.warmup_epochs=0.1 prediction.tta=none hardware.profile=true training.reuse=false
)

# A separate project, so that the runs of the user stay unchanged.
mkdir -p "$out/project"
cp -r conf src pyproject.toml .telemetry "$out/project"

run() { # PIPELINES KEY=VALUE...: the experiment `strong` on the built-in sample, with other settings
  local pipelines=$1 all=("${settings[@]}" "${@:2}")
  (cd "$out/project" && PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" "${launcher[@]:-$python}" -m kedro run \
    --env default/strong --pipelines "$pipelines" --params "$(IFS=, && echo "${all[*]}")")
}
train() { run data_processing,feature_statistics,modelling "$@"; }
kill_and_resume() {
  train training.epochs=4 training.seed=1 &
  local training=$!
  until grep -q "epoch 1:" "$log" || ! kill -0 $training 2>/dev/null; do sleep 0.2; done
  pkill -TERM -f "training.epochs=4,training.seed=1"
  wait $training
  train training.epochs=4 training.seed=1 training.reuse=true
}
repeat() {
  train hardware.deterministic=true && train hardware.deterministic=true &&
    "$python" - "$out"/project/data/06_models/*/strong/*/checkpoints/*.pth <<'PY'
import sys
from pathlib import Path
import torch
newest = sorted(sys.argv[1:], key=lambda name: Path(name).stat().st_mtime)[-2:]
one, other = (torch.load(name, map_location="cpu", weights_only=True)["state"] for name in newest)
print("the same weights" if all(torch.equal(one[name], other[name]) for name in one) else "other weights")
PY
}
score_on_cpu() { train && run reporting hardware.device=cpu training.reuse=true; }
run_out() { ! train training.batch_size=4096 training.crops_per_scene=512; }
two_gpus() {
  run data_processing,feature_statistics training.seed=3 training.reuse=true || return
  local launcher=("$python" -m torch.distributed.run --nproc-per-node 2)
  run modelling training.seed=3 training.reuse=true
}
benchmark() { "$python" benchmarks/bench_training.py "${benchmark[@]}" "$@"; }
tests() { OMP_NUM_THREADS=1 "$python" -m pytest -q --no-cov -p no:cacheprovider -n "$(nproc)" -W default -m "not slow" tests/training tests/models; }
doctor() { "$python" -m kedro doctor; }

check() { # NAME GPUS EXPECTED PATTERN COMMAND...: passes if the command succeeds and prints a line that matches
  local name=$1 needed=$2 expected=$3 pattern=$4 log="$out/$1.log" result found="" started=$SECONDS
  if ((gpus < needed)); then
    result="$([[ $gpus == 0 ]] && echo "no GPU" || echo "$gpus GPU")"
  else
    echo "$name ..." >&2
    if ! grep -qs "^exit status" "$log"; then # an interrupted check is repeated
      "${@:5}" >"$log" 2>&1 && code=0 || code=$?
      echo "exit status $code after $((SECONDS - started)) s" >>"$log"
    fi
    found=$(grep -E "$pattern" "$log" | tail -n 1 | sed -E 's/^\[?[0-9/]+ [0-9:]+\]? +//; s/^ +//; s/INFO +//; s/ +$//; s/\|/\\|/g')
    result=fail
    [[ -z $found ]] || ! tail -n 1 "$log" | grep -q "^exit status 0 " || result=${passed:-pass}
    found+=" ($(tail -n 1 "$log" | grep -oE "[0-9]+ s"))"
  fi
  echo "| $name | $result | $expected | $found |" >>"$out/report.part"
}

measure() { local passed=measured && check "$@"; } # a speed, which a person compares with the expected one

{
  echo "# Checks on a GPU"
  echo
  echo "$device, torch $torch, $(nproc) cores, $(date +%F), $(git -C "$here" rev-parse --short HEAD 2>/dev/null || echo "no git"). Logs are next to this page."
  echo
  echo "| check | result | expected | output |"
  echo "| --- | --- | --- | --- |"
} >"$out/report.part"
# Timed checks run first.
check doctor 0 "prints the GPU, or that there is none" "GPU" doctor
measure strong 0 "about 165 pairs/s on an H200, 140 on an H100; waits for data below 5 %" "pairs/s" train
measure strong_without_ema 0 "EMA costs less than 3 %" "pairs/s" train training.ema_decay=null
measure host_store 0 "not slower than strong by more than 10 %" "pairs/s" train dataloader.location=host
measure float32 0 "TF32: at least half as fast as strong" "pairs/s" train hardware.precision=32-true
measure float16 1 "as fast as strong, no divergence" "pairs/s" train hardware.precision=16-mixed
measure compile 1 "a fifth faster than strong, after a minute in the first epoch" "pairs/s" train hardware.compile=true
measure benchmark 0 "about 160 pairs/s on an H200, 150 on an H100; waits for data below 5 %" "ours  " benchmark
measure ratio 0 "8 times the plain loop on an H200" "against plain loop" cat "$out/benchmark.log"
measure two_gpus 2 "nearly twice the pairs of strong" "pairs/s" two_gpus
check tests 0 "all pass" "^[0-9]+ passed" tests
check deterministic 0 "two runs have the same weights" "^the same weights" repeat
check resume 0 "resumes after the last finished epoch" "training resumes after epoch" kill_and_resume
check score_on_cpu 0 "a checkpoint of the GPU is scored on the CPU" "^Score" score_on_cpu
check out_of_memory 1 "an error names the settings to lower" "Memory ran out" run_out
mv "$out/report.part" "$out/report.md"
cat "$out/report.md"
! grep -q "| fail |" "$out/report.md"
