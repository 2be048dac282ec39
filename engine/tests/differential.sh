#!/bin/sh
# The optimised paths against the definition, on millions of events: machine code against the interpreter, with the index
# and without, around the edges of units, memories against the full history. LICTOR_FUZZ says how many times as many
# policies as in `make test`. A difference prints its policy and its event, and fails.
set -eu
cd "$(dirname "$0")/../.."
LICTOR_FUZZ=${LICTOR_FUZZ:-4}
export LICTOR_FUZZ
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "judging with LICTOR_FUZZ=$LICTOR_FUZZ: some minutes"
if ! cargo test --release -p lictor-engine --test index --test differential --test memory --test bounds -- --nocapture \
    >"$log" 2>&1; then
    cat "$log"
    exit 1
fi
grep 'events judged' "$log"
judged=$(sed -n 's/.*[^0-9]\([0-9][0-9]*\) events judged.*/\1/p; s/^\([0-9][0-9]*\) events judged.*/\1/p' "$log" |
    awk '{ sum += $1 } END { print sum }')
echo "$judged events judged, no difference"
