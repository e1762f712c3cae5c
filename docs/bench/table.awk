# Joins bars.txt with the output of go test -bench and prints the columns
# what | figure | bar | holds. Exits 1 when a bar does not hold or a figure is missing.
function trim(s) { gsub(/^[ \t]+|[ \t]+$/, "", s); return s }
FNR == 1 { file++ }
file == 1 {
	if ($0 ~ /^#/ || split($0, f, "|") < 4) next
	n++; name[n] = trim(f[1]); unit[n] = trim(f[2]); what[n] = trim(f[3]); bar[n] = trim(f[4])
	next
}
/^Benchmark/ {
	b = $1; sub(/-[0-9]+$/, "", b); seen[b] = 1
	for (i = 3; i < NF; i += 2) figure[b, $(i + 1)] = $i
}
END {
	print "what | figure | bar | holds"
	for (i = 1; i <= n; i++) {
		if (!(name[i] in seen) && all != "yes") continue
		v = figure[name[i], unit[i]]
		if (v == "") { holds = "missing"; bad = 1 }
		else if (bar[i] == "-") holds = "-"
		else {
			limit = substr(bar[i], 3) + 0
			ok = substr(bar[i], 1, 2) == "<=" ? v + 0 <= limit : v + 0 >= limit
			holds = ok ? "yes" : "no"
			if (!ok) bad = 1
		}
		print what[i] " | " (v == "" ? "-" : v) " | " bar[i] " | " holds
	}
	exit bad
}
