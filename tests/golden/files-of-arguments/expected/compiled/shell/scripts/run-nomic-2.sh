#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: fc3b9b922f306f9a3a0ea6f6e4a28c8188906d0c01f6088703846fbd602aa0d2
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
  'llama.cpp 9000' \
  '^version: (b?9000|.*build:? b?9000)([^0-9].*)?$' \
  '^version: ([1-9]|.*build:? b?[1-9])' \
  /usr/local/bin/llama-server \
  -- \
  --model \
  /srv/models/nomic-ai/nomic-embed-text-v1.5-GGUF/nomic-embed-text-v1.5.Q8_0.gguf \
  --alias \
  nomic \
  --host \
  127.0.0.1 \
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
