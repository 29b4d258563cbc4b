#!/bin/bash
# Usage: bash array.sh SUITE RUN
# TAKES="--gpus=1 --cpus-per-task=8" before it sets what each unit takes.
set -eu
suite=$1 run=$2 after=
adakd run "$suite" --out "$run" --prepare
left=$(adakd work "$run")
for kind in teacher teaching student score timing; do
  keys=$(awk -v kind=$kind '$2 == kind {printf "%s ", $1}' <<< "$left")
  [ -n "$keys" ] || continue
  alone=$([ $kind = timing ] && echo --exclusive || true)
  job=$(sbatch --parsable ${TAKES:---gpus=1 --cpus-per-task=4} $alone $after \
    --array=1-$(wc -w <<< "$keys") --job-name="adakd-$kind" --requeue --wrap "
      key=\$(echo $keys | cut -d ' ' -f \$SLURM_ARRAY_TASK_ID)
      exec adakd work '$run' --unit \$key")
  after="--dependency=afterany:$job"
done
sbatch ${TAKES:---gpus=1 --cpus-per-task=4} $after --job-name=adakd-report \
  --wrap "exec adakd run '$suite' --out '$run'"
