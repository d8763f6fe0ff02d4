#!/usr/bin/env bash
# Measures append, replay, engine, opening and validation in one go, a few minutes in all.
#
#   cargo build --release -p aos-bench
#   benches/measure.sh BENCH DIR RESULTS [DATA]
#
# BENCH is the built aos-bench, DIR a directory on the disk to measure, RESULTS where the results go, DATA the BPI Challenge 2012
# data set as JSON lines (left out: made-up computing steps stand in for it).
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
bench=$1 results=$3 data=${4:-}
mkdir -p "$2" "$results"
dir=$(mktemp -d -p "$2")
trap 'rm -rf "$dir"' EXIT
day=$(date +%F)

# one NAME ARGUMENT...: runs a measurement and keeps its result with the command that made it.
one() {
  local name=$1
  shift
  local file="$results/$day-$name.json"
  echo "aos-bench $*" >&2
  "$bench" "$@" > "$file.tmp"
  # The command becomes the first field, with the directory left out that exists only here.
  local command="aos-bench ${*//$dir/DIR}"
  { printf '{\n  "command": "%s",\n' "${command//\"/\\\"}"; tail -n +2 "$file.tmp"; } > "$file"
  rm "$file.tmp"
}

one append append --dir "$dir" --rounds 3 --seconds 0.7 --batches 1,100,1000
one producers producers --dir "$dir" --producers 16 --in-flight 256 --rounds 3 --seconds 1
one read read --dir "$dir" --records 200000 --rounds 3
one computing engine --dir "$dir" --runs 20000 --steps 10 --in-flight 1000 --workers 1,2 --rounds 3 --keep "$dir/many"
one effects engine --dir "$dir" --effects --steps 2000 --rounds 3
one history engine --dir "$dir" --runs 1 --steps 2000 --in-flight 1 --workers 1 --rounds 3 --keep "$dir/history"
one history-replay replay "$dir/history/bench.aos" --workers 1,2 --rounds 30
one verify verify "$dir/many/bench.aos" --rounds 5 --workers 1,2
one million engine --dir "$dir" --runs 1 --steps 500000 --in-flight 1 --workers 1 --rounds 1 --keep "$dir/one"
one verify-one verify "$dir/one/bench.aos" --rounds 3 --workers 2
one validate validate --workers 3 --iterations 500 --seeds 5 --rounds 5
if [ -n "$data" ]; then
  one bpic2012 engine --dir "$dir" --data "$data" --in-flight 1000 --workers 1,2 --rounds 1 --keep "$dir/bpi"
  one bpic2012-space bytes "$dir/bpi/bench.aos"
  one bpic2012-verify-widths verify "$dir/bpi/bench.aos" --rounds 3 --workers 1,2
fi
one open-bulk engine --dir "$dir" --runs 8 --steps 1000 --bulk 65536 --in-flight 8 --workers 2 --rounds 1 --keep "$dir/bulk"
one open open "$dir/bulk/bench.aos" --write --rounds 10
