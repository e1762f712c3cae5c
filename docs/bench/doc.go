// Package bench compares scimward with the least that the same work can cost. The
// benchmarks are in the test files. run.sh runs them with those of the other
// packages and compares the figures with bars.txt. README.md explains each figure.
//
// Absolute times mean nothing here: both sides of a comparison run in the same
// process tree, in turns, and the result is their ratio.
package bench
