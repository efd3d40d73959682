#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: 92572268dfde1890b791c7895bdcff35a3192c1916a5e403b63702fb366b78b7
# Becomes the engine of one replica, in the foreground.
set -euo pipefail
umask 077

echo 'nomic-2: llama.cpp 9000' >&2
mkdir -p -- /srv/models/.cache/modelc-nomic-2
PATH=/usr/local/bin:"$PATH"
# Variables through env(1): some names mean something to the shell itself.
# Single quotes keep what looks like an expansion as it is.
# shellcheck disable=SC1003,SC2016
exec env -- \
  /usr/local/bin/llama-server \
  --model \
  /srv/models/nomic-ai/nomic-embed-text-v1.5-GGUF/nomic-embed-text-v1.5.Q8_0.gguf \
  --alias \
  nomic \
  --host \
  0.0.0.0 \
  --port \
  8000 \
  --ctx-size \
  8192 \
  --parallel \
  4 \
  --no-kv-unified \
  --batch-size \
  2048 \
  --ubatch-size \
  2048 \
  --flash-attn \
  on \
  --cache-type-k \
  f16 \
  --cache-type-v \
  f16 \
  --n-gpu-layers \
  0 \
  --device \
  none \
  --fit \
  off \
  --no-mmap \
  --cache-ram \
  0 \
  --ctx-checkpoints \
  0 \
  --embedding \
  --pooling \
  mean \
  --api-key-file \
  /srv/models/keys \
  --chat-template-file \
  /home/me/chat.jinja
