// Command protected-app is the revocation plugin for examples/protected-app. Over the application's admin
// API it deletes every credential of a user and disables the account.
//
// It is built as a WebAssembly module, in which main does not run:
//
//	go run ./examples/plugins/protected-app/build -out DIR -base-url http://127.0.0.1:9090
package main

import (
	"fmt"
	"os"

	revoker "github.com/scimward/scimward/plugins/sdk/go"
)

func init() { revoker.Register(Plugin()) } //nolint:gochecknoinits // the only entry a c-shared module has

func main() {
	fmt.Fprintln(os.Stderr, "this is a plugin: build it with GOOS=wasip1 GOARCH=wasm, see README.md")
	os.Exit(2)
}
