#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: b04198579dd9dcd5537cdf8c37568528957e9fcd17a7a709509fd4e80e8301db
# Becomes the engine of one replica, in the foreground.
set -euo pipefail
umask 077

echo 'reasoning-0: vllm 0.33.0' >&2
mkdir -p -- /srv/models/.cache/modelc-reasoning-0
PATH=/opt/vllm/bin:"$PATH"
# Variables through env(1): some names mean something to the shell itself.
# Single quotes keep what looks like an expansion as it is.
# shellcheck disable=SC1003,SC2016
exec env -- \
  CUDA_DEVICE_ORDER=PCI_BUS_ID \
  CUDA_VISIBLE_DEVICES=0 \
  HF_HOME=/srv/models/huggingface \
  VLLM_CACHE_ROOT=/srv/models/.cache/modelc-reasoning-0/vllm \
  VLLM_NO_USAGE_STATS=1 \
  /opt/vllm/bin/vllm \
  serve \
  Qwen/Qwen3-14B-AWQ \
  --served-model-name \
  reasoning \
  --host \
  0.0.0.0 \
  --port \
  8000 \
  --max-model-len \
  16384 \
  --max-num-seqs \
  8 \
  --max-num-batched-tokens \
  2048 \
  --tensor-parallel-size \
  1 \
  --gpu-memory-utilization \
  0.9483 \
  --kv-cache-memory-bytes \
  12782141440
