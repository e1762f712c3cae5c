// Package faults tests whole installations, with a process for each core, edge and Envoy, while machines are killed,
// stopped and cut off at random: nobody is served after the answer to a deactivation, no acknowledged change is lost,
// and every core is like a fresh replay. `make faults` runs it for FAULTS_FOR. It needs the build tag faults, Linux and
// an Envoy.
package faults
