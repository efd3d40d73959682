#!/usr/bin/env bash
# Written by modelc; changes made here are lost. Digest: 301ff17f15c96fe84dcf84e7203f539713d5d0b6b9f059cb46b9ae7193cc24b1
# What start.sh, stop.sh and status.sh share. Linux only: it reads /proc.
set -euo pipefail
umask 077

host=turing
state="${MODELC_STATE_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/modelc}/$host"
here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
stop_seconds=60

# Two starts at once would start everything twice.
take_lock() {
  mkdir -p -- "$state"
  exec 9>"$state/lock"
  if ! flock -n 9; then
    echo "another modelc script is at work on $host" >&2
    exit 1
  fi
}

# When a process was born, in ticks since boot; fails when it is gone or a zombie. With the pid it
# names one process for good: the kernel gives a pid away again.
birth() {
  local stat
  stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
  # The name in parentheses may hold blanks and parentheses; the fields after it cannot.
  stat="${stat##*) }"
  case "$stat" in Z* | X*) return 1 ;; esac
  printf '%s\n' "$stat" | cut -d ' ' -f 20
}

# The pid of a replica that runs; fails when it does not.
pid_of() {
  local pid born
  [ -f "$state/$1.pid" ] || return 1
  read -r pid born <"$state/$1.pid" || return 1
  [ "$(birth "$pid")" = "$born" ] || return 1
  printf '%s\n' "$pid"
}

answers() {
  curl -q --silent --fail --noproxy '*' --max-time 5 --output /dev/null -- "$1"
}

# Starts a replica; does nothing when it runs.
launch() {
  local name="$1" pid
  if pid="$(pid_of "$name")"; then
    echo "$name runs already, pid $pid"
    return 0
  fi
  sweep "$name"
  # The script becomes the engine under the same pid. Its own session: a hangup of this terminal
  # does not reach it, and its helpers can be stopped with it.
  setsid "$here/run-$name.sh" </dev/null >>"$state/$name.log" 2>&1 9>&- &
  pid=$!
  printf '%s %s\n' "$pid" "$(birth "$pid" || echo gone)" >"$state/$name.pid"
  echo "$name started, pid $pid, log $state/$name.log"
}

# Waits until a replica answers. One that does not in time is stopped, as its memory is needed.
await() {
  local name="$1" url="$2" limit="$3" begin="$SECONDS"
  while pid_of "$name" >/dev/null; do
    if answers "$url"; then
      echo "$name is healthy"
      return 0
    fi
    if [ "$((SECONDS - begin))" -ge "$limit" ]; then
      echo "$name does not answer after $limit s; it is stopped; see $state/$name.log" >&2
      halt "$name"
      return 1
    fi
    sleep 1
  done
  sweep "$name"
  echo "$name has ended; see $state/$name.log" >&2
  return 1
}

# Ends a replica and its helpers; does nothing when it does not run.
halt() {
  local name="$1" pid begin="$SECONDS"
  if pid="$(pid_of "$name")"; then
    kill -TERM "$pid" 2>/dev/null || true
    while pid_of "$name" >/dev/null && [ "$((SECONDS - begin))" -lt "$stop_seconds" ]; do
      sleep 0.2
    done
    # Whatever is left of its session: helpers too hold memory of a GPU.
    kill -KILL -- "-$pid" 2>/dev/null || true
    echo "$name is stopped"
  fi
  sweep "$name"
  rm -f -- "$state/$name.pid"
}

# Ends all replicas that have been started here, at the same time.
halt_all() {
  local file name
  for file in "$state"/*.pid; do
    [ -e "$file" ] || continue
    name="${file##*/}"
    halt "${name%.pid}" &
  done
  wait
}

# Kills what an engine that has ended left of its session: helpers too hold memory of a GPU. The id
# may be a stranger's by now, so that only what also writes to the replica's log is known as its own.
sweep() {
  local name="$1" pid folder stat
  [ -f "$state/$name.pid" ] || return 0
  read -r pid _ <"$state/$name.pid" || return 0
  for folder in /proc/[0-9]*; do
    [ "$folder/fd/1" -ef "$state/$name.log" ] || [ "$folder/fd/2" -ef "$state/$name.log" ] || continue
    stat="$(cat "$folder/stat" 2>/dev/null)" || continue
    if [ "$(printf '%s\n' "${stat##*) }" | cut -d ' ' -f 4)" = "$pid" ]; then
      kill -KILL "${folder#/proc/}" 2>/dev/null || true
    fi
  done
}

# One line on a replica; fails when it is not healthy.
report() {
  local name="$1" url="$2" pid
  if ! pid="$(pid_of "$name")"; then
    echo "$name stopped"
    return 1
  elif answers "$url"; then
    echo "$name healthy pid $pid"
  else
    echo "$name starting pid $pid"
    return 1
  fi
}
