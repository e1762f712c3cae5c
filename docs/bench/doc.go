// Package bench compares scimward with the least possible cost of the same work. The benchmarks are
// in the test files. run.sh runs them with the benchmarks of other packages and compares the
// figures with bars.txt. README.md explains each figure.
//
// Absolute times mean nothing here. Both sides of a comparison run in the same process tree, in
// turns, and the result is their ratio.
package bench
