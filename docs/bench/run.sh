#!/bin/sh
# Runs the benchmarks that README.md explains and compares them with bars.txt. GO is
# the Go command, BENCH a regular expression of benchmark names. Writes latest.txt
# when all of them ran. BENCH=Fresh runs only BenchmarkFresh, which takes many minutes and
# which nothing else runs, with bars-fresh.txt, and writes latest-fresh.txt. Exits 1 when
# a benchmark fails, 3 when a bar does not hold.
set -eu
cd "$(dirname "$0")/../.."
GO=${GO:-go}
BENCH=${BENCH:-.}
case $BENCH in
.) all=yes of= ;;
Fresh) all=yes of=-fresh ;;
*) all=no of= ;;
esac
raw=$(mktemp)
table=$(mktemp)
trap 'rm -f "$raw" "$table"' EXIT
failed=no

# bench PACKAGE BENCHTIME NAMES runs the benchmarks of NAMES that BENCH matches.
bench() {
	chosen=$(for name in $3; do echo "$name"; done | grep -E "$BENCH" | paste -sd'|' -) || true
	[ -n "$chosen" ] || return 0
	echo "== $1 ($chosen)" >&2
	out=$("$GO" test -run '^$' -bench "^($chosen)\$" -benchtime "$2" -timeout 30m "$1") || {
		echo "$out" >&2
		failed=yes
		return 0
	}
	echo "$out" | grep '^Benchmark' | tee -a "$raw" >&2
}

bench ./docs/bench 1x "BenchmarkCheck"
bench ./docs/bench 27000x "BenchmarkReplicatedWrite"
bench ./docs/bench 1x "BenchmarkLeaderKill BenchmarkEdge"
[ -z "$of" ] || bench ./docs/bench 1x "BenchmarkFresh"
bench ./sidecar/internal/token 200x "BenchmarkFirstSight"
bench ./sidecar/internal/token 200000x "BenchmarkVerifyWarm"
bench ./policies 1x "BenchmarkPolicy"
bench ./plugins 300x "BenchmarkCall BenchmarkAsk"
bench ./plugins 2x "BenchmarkIdentifyFlood"
bench ./store 31000x "BenchmarkDurableCreate"
bench ./sidecar/internal/scimhttp 1x "BenchmarkPatchMember"
bench ./store 20000x "BenchmarkUserName BenchmarkLockLookup"
bench ./store 200x "BenchmarkMemberAdd"

passed=yes
awk -v all="$all" -f docs/bench/table.awk "docs/bench/bars$of.txt" "$raw" >"$table" || passed=no
cat "$table"
[ "$failed" = no ] || { echo "a benchmark failed, see above" >&2; exit 1; }
if [ "$all" = yes ]; then
	{
		machine="$("$GO" env GOOS)/$("$GO" env GOARCH), $("$GO" env GOVERSION), $(getconf _NPROCESSORS_ONLN) cores"
		echo "# $(date -u +%Y-%m-%d), $machine"
		cat "$table"
		echo
		cat "$raw"
	} >"docs/bench/latest$of.txt"
fi
[ "$passed" = yes ] || { echo "a bar does not hold, see above" >&2; exit 3; }
