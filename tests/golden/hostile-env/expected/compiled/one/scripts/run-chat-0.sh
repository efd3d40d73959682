#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: af4524e11cf24d2fd753f566b383b56bdebdff649cee51b24e4002d4c7e4d2e5
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
  /srv/models/unsloth/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf \
  --alias \
  chat \
  --host \
  127.0.0.1 \
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
