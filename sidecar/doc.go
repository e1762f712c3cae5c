// Package sidecar wires the parts of scimward together. [New] opens the store, loads the policy,
// keys and plugins, and binds the listeners. [Server.Run] serves until its context ends, and then
// drains. The package contains no decisions of its own.
package sidecar
