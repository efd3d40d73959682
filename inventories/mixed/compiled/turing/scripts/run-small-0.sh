#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: afd5b5fa40255ad108a40b6e9030566c279909d2626a271b558d9543c51828ef
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
  VLLM_CACHE_ROOT=/srv/models/.cache/modelc-small-0/vllm \
  VLLM_NO_USAGE_STATS=1 \
  /opt/vllm/bin/vllm \
  serve \
  Qwen/Qwen2.5-1.5B-Instruct \
  --served-model-name \
  small \
  --host \
  0.0.0.0 \
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
  0.5219 \
  --kv-cache-memory-bytes \
  1879506944
