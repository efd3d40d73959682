#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: 251cdd133596c8b27fac946aab5740999ed565dd7131ab9d54ae483f922cf660
# Becomes the engine of one replica, in the foreground.
set -euo pipefail
umask 077

echo 'small-0: vllm 0.33.0' >&2
mkdir -p -- /srv/models/.cache/modelc-small-0
PATH=/opt/vllm/bin:"$PATH"
# Variables through env(1): some names mean something to the shell itself.
# Single quotes keep what looks like an expansion as it is.
# shellcheck disable=SC1003,SC2016
exec env -- \
  CUDA_DEVICE_ORDER=PCI_BUS_ID \
  CUDA_VISIBLE_DEVICES=0 \
  HF_HOME=/srv/models/huggingface \
  HF_MODULES_CACHE=/srv/models/.cache/modelc-small-0/modules \
  VLLM_CACHE_ROOT=/srv/models/.cache/modelc-small-0/vllm \
  VLLM_NO_USAGE_STATS=1 \
  /bin/sh \
  -c \
  '{ set +x; } 2>/dev/null;
set -eu;
modelc_engine=$1; modelc_wanted=$2; modelc_readable=$3; modelc_program=$4;
shift 4;
modelc_said=$("$modelc_program" --version 2>&1 </dev/null) || :;
modelc_version=$(printf "%s\n" "$modelc_said" | grep -E -e "$modelc_readable") || :;
if [ -z "$modelc_version" ]; then
echo "modelc: $modelc_program does not say its version; $modelc_engine is expected" >&2;
elif ! printf "%s\n" "$modelc_said" | grep -Eq -e "$modelc_wanted"; then
echo "modelc: $modelc_engine is planned, and $modelc_program is $modelc_version" >&2;
exit 78;
fi;
shift;
exec "$modelc_program" "$@"' \
  modelc-run \
  'vllm 0.33.0' \
  '^(vllm )?v?0\.33\.0([^0-9].*)?$' \
  '^(vllm )?v?[0-9]+\.[0-9]+\.[0-9]' \
  /opt/vllm/bin/vllm \
  -- \
  serve \
  Qwen/Qwen2.5-1.5B-Instruct \
  --served-model-name \
  small \
  --host \
  127.0.0.1 \
  --port \
  8000 \
  --max-model-len \
  8192 \
  --max-num-seqs \
  8 \
  --max-num-batched-tokens \
  2048 \
  --tensor-parallel-size \
  1 \
  --dtype \
  half \
  --gpu-memory-utilization \
  0.5130 \
  --kv-cache-memory-bytes \
  1879506944
