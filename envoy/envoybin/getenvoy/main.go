// Command getenvoy prints the path of the Envoy that tests and the demo use,
// after fetching it if it must.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/scimward/scimward/envoy/envoybin"
)

func main() {
	wd, err := os.Getwd()
	if err == nil {
		var cache, bin string
		if cache, err = envoybin.CacheDir(wd); err == nil {
			if bin, err = envoybin.Locate(context.Background(), cache, os.Stderr); err == nil {
				fmt.Println(bin)
				return
			}
		}
	}
	fmt.Fprintln(os.Stderr, "getenvoy:", err)
	os.Exit(1)
}
