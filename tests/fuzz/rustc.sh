#!/bin/sh
# Wraps rustc: our own crates report the edges that an input takes; dependencies stay as fast as they are.
case $CARGO_PKG_NAME in
lictor-*)
	set -- "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
		-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
		-Cllvm-args=-sanitizer-coverage-trace-compares
	;;
esac
exec "$@"
