#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: 4a0fdc94a65bc12b76f0a21f06be048c352084376c3a1a199c73e407f087f1ce
# Becomes the engine of one replica, in the foreground.
set -euo pipefail
umask 077

echo 'chat-0: vllm 0.33.0' >&2
mkdir -p -- /srv/models/.cache/modelc-chat-0
PATH=/opt/vllm/bin:"$PATH"
# Variables through env(1): some names mean something to the shell itself.
# Single quotes keep what looks like an expansion as it is.
# shellcheck disable=SC1003,SC2016
exec env -- \
  CUDA_DEVICE_ORDER=PCI_BUS_ID \
  CUDA_VISIBLE_DEVICES=0 \
  HF_HOME=/srv/models/huggingface \
  VLLM_CACHE_ROOT=/srv/models/.cache/modelc-chat-0/vllm \
  VLLM_NO_USAGE_STATS=1 \
  /opt/vllm/bin/vllm \
  serve \
  Qwen/Qwen3-32B-AWQ \
  --served-model-name \
  chat \
  --host \
  0.0.0.0 \
  --port \
  8000 \
  --max-model-len \
  16384 \
  --max-num-seqs \
  4 \
  --max-num-batched-tokens \
  2048 \
  --tensor-parallel-size \
  1 \
  --gpu-memory-utilization \
  0.7429 \
  --kv-cache-memory-bytes \
  17184063488
