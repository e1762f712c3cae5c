// Package bench compares scimward with the floor it stands on. Its benchmarks are
// in the test files; run.sh runs them with those of the other packages and judges
// the figures by bars.txt. README.md says what each figure means.
//
// Nothing here is absolute: both sides of a comparison run in the same process
// tree, in turns, and only their ratio is a result.
package bench
