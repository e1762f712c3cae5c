// Package faults tests stores of one shared log while the servers of the log, in processes of their own, are killed and
// stopped at random. `make faults` runs it for FAULTS_FOR.
package faults
