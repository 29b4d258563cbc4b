#!/usr/bin/env bash
# Run the checks, benchmarks and the experiment on a GPU, on a machine without a network.
#
#   bash tests/gpu/run.sh OUT [STAGE[=SECONDS] ...]
#
# Stages: unpack, tests, experiment, and NAME for each tests/gpu/bench_NAME.py; all if none is
# named. Each has a time limit; a stage that fails does not stop the others. The results of all
# stages so far are in OUT/results.tar.gz, which is written after each, those of the experiment in
# OUT/experiment, and the last lines are a table of stages, exit codes and seconds.
#
#   ADAKD_GPU_PACKED  what pack.py made (default: .gpu)
#   ADAKD_GPU_HOME  where wheels, data and weights are unpacked (default: adakd-gpu in the temporary folder)
#   ADAKD_GPU_TINY  set to 1 for a trial on a CPU, of seconds and of no value as a measurement
#   ADAKD_GPU_LOSS  options of a stage's script, as "--sides lean torch.compile liger --sources hidden"
#   PYTHON          the Python to use (default: python3)
set -uo pipefail
cd "$(dirname "$0")/../.."
back=$(mkdir -p "${1:?usage: run.sh OUT [STAGE[=SECONDS] ...]}" && cd "$1" && pwd) || exit 2
shift
home=${ADAKD_GPU_HOME:-${TMPDIR:-/tmp}/adakd-gpu}
out=$home/out
rm -rf "$out" && mkdir -p "$out" || exit 2
packed=${ADAKD_GPU_PACKED:-.gpu}
python=${PYTHON:-python3}
trial=()
[ "${ADAKD_GPU_TINY:-}" = 1 ] && trial=(--device cpu --tiny)
export PYTHONPATH="$home/site:$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
export XDG_CACHE_HOME="$home/cache"

if [ $# = 0 ]; then
  benches=(tests/gpu/bench_*.py)
  benches=("${benches[@]#tests/gpu/bench_}")
  set -- unpack tests "${benches[@]%.py}" experiment
fi

unpack() {  # seconds
  "$python" tests/gpu/unpack.py "$home" "$packed" && "$python" tests/gpu/machine.py "$out/machine.json"
}

tests() {  # seconds
  local few=()
  [ ${#trial[@]} -gt 0 ] && few=(-k golden -n 1) && export ADAKD_TEST_DEVICE=cpu
  rm -f "$out/failures.txt"
  # Warnings are another machine's. Below the limit, so that pytest itself sums up.
  ADAKD_GPU_FAILURES=$out/failures.txt ADAKD_GPU_TEST_SECONDS=$(($1 - 10)) \
    PYTHONPATH=$PYTHONPATH:$PWD/tests/gpu "$python" -m pytest -p at_once -v \
    -n "${ADAKD_GPU_WORKERS:-8}" --dist worksteal -W default --tb=no -rN --durations=15 "${few[@]}" \
    $(grep -v '^#' tests/gpu/selection.txt) > "$out/tests.txt" 2>&1
  local code=$?
  [ -e "$out/failures.txt" ] && grep -hE '^(tests/|E  )' "$out/failures.txt" | cut -c1-200 | tail -n 50
  tail -n 20 "$out/tests.txt"
  return $code
}

experiment() {  # seconds
  # Its records come back after each cell, whatever ends the rest.
  "$python" tests/gpu/experiment.py "$back/experiment" --home "$home" --seconds "$1" "${trial[@]}" \
    ${ADAKD_GPU_EXPERIMENT:-} 2>&1 | tee "$out/experiment.txt"
}

bench() {  # name, seconds
  local options=ADAKD_GPU_${1^^}
  "$python" "tests/gpu/bench_$1.py" "$out/$1.json" --seconds "$2" "${trial[@]}" ${!options:-} 2>&1 |
    tee "$out/$1.txt" | tail -c 3000
}

export -f unpack tests experiment bench
export back out home packed python
table=""
for asked in "$@"; do
  stage=${asked%%=*}
  case $stage in
    unpack) limit=90 call=unpack ;;
    tests) limit=150 call=tests ;;
    experiment) limit=500 call=experiment ;;
    *) limit=90 call="bench $stage" ;;
  esac
  [ "$asked" != "$stage" ] && limit=${asked#*=}
  echo "== $stage (at most $limit s)"
  start=$(date +%s.%N)
  # The script's own end comes first; the limit is for what hangs.
  timeout --kill-after=5 $((limit + 10)) bash -c "trial=(${trial[*]}); set -o pipefail; $call $limit"
  code=$?
  seconds=$(echo "$(date +%s.%N) $start" | awk '{printf "%.1f", $1 - $2}')
  table+=$(printf '%-12s exit %-4s %7s s' "$stage" "$code" "$seconds")$'\n'
  printf '%s' "$table" > "$out/stages.txt"
  tar -czf "$back/part" -C "$out" . && mv "$back/part" "$back/results.tar.gz"
done
echo "== stages"
printf '%s' "$table"
! grep -qv ' exit 0 ' "$out/stages.txt"
