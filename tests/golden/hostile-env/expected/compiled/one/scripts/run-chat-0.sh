#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: 626173ff756922c2dd4e90802f12b0ebed4ba25cfb1083a96cd6729de70f454b
# Becomes the engine of one replica, in the foreground.
set -euo pipefail
umask 077

echo 'chat-0: llama.cpp 9000' >&2
mkdir -p -- /srv/models/.cache/modelc-chat-0
PATH=/usr/local/bin:"$PATH"
# Variables through env(1): some names mean something to the shell itself.
# Single quotes keep what looks like an expansion as it is.
# shellcheck disable=SC1003,SC2016
exec env -- \
  CUDA_DEVICE_ORDER=PCI_BUS_ID \
  CUDA_VISIBLE_DEVICES=0 \
  'DOLLARS=$HOME ${X} $$ %n %% {{ x }}' \
  'LINES=first
second	-end \' \
  'QUOTES=it'"'"'s "so" `here`' \
  /usr/local/bin/llama-server \
  --model \
  /srv/models/unsloth/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf \
  --alias \
  chat \
  --host \
  0.0.0.0 \
  --port \
  8000 \
  --ctx-size \
  16384 \
  --parallel \
  4 \
  --no-kv-unified \
  --batch-size \
  2048 \
  --ubatch-size \
  512 \
  --flash-attn \
  on \
  --cache-type-k \
  f16 \
  --cache-type-v \
  f16 \
  --n-gpu-layers \
  37 \
  --fit \
  off \
  --no-mmap \
  --cache-ram \
  0 \
  --ctx-checkpoints \
  0 \
  --jinja
