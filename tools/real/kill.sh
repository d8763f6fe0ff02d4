#!/usr/bin/env bash
# kill.sh [CYCLES] [SEED]: real writers, killed with SIGKILL after a random number of acknowledgements, at whatever they do
# then. After each kill the log opens, every acknowledged record is there, in order, once, and nothing is there that was not
# written.
source "$(dirname "$0")/common.sh"
load_binary
work_dir
"$LOAD" kill "$WORK/kill.aos" --cycles "${1:-1000}" --seed "${2:-1}"
