#!/bin/sh
# Counts the instructions of a turn of each workload, and says how far that is from what instructions.txt records.
# `benches/instructions.sh --record` writes the file anew. Needs valgrind.
set -eu
cd "$(dirname "$0")/.."
recorded=benches/instructions.txt
turns=640
bench=$(cargo bench --bench instructions --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*instructions[^"]*\)".*/\1/p')
new=$(mktemp)
trap 'rm -f "$new"' EXIT
for workload in decide_indexable decide_noindex from_bytes memory; do
    total=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*instructions::measured*' \
        "$bench" "$workload" 2>&1 | sed -n 's/.*Collected : \([0-9]*\).*/\1/p')
    echo "$workload $((total / turns))" >>"$new"
done
worse=0
while read -r workload count; do
    before=$(sed -n "s/^$workload //p" "$recorded" 2>/dev/null || true)
    if [ -n "$before" ]; then
        change=$(((count - before) * 1000 / before))
        echo "$workload: $count instructions a turn, recorded $before ($((change / 10)).$((${change#-} % 10)) %)"
        if [ "$change" -ge 50 ]; then worse=1; fi
    else
        echo "$workload: $count instructions a turn"
    fi
done <"$new"
if [ "${1:-}" = --record ]; then cp "$new" "$recorded"; exit 0; fi
if [ "$worse" = 1 ]; then echo "five per cent more than recorded" >&2; exit 1; fi
