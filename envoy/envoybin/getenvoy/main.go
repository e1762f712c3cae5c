// Command getenvoy prints the path of the Envoy that tests and the demo run. It downloads one when it finds none.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/scimward/scimward/envoy/envoybin"
)

func main() {
	bin, err := locate()
	if err != nil {
		fmt.Fprintln(os.Stderr, "getenvoy:", err)
		os.Exit(1)
	}
	fmt.Println(bin)
}

func locate() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	cache, err := envoybin.CacheDir(wd)
	if err != nil {
		return "", err
	}
	return envoybin.Locate(context.Background(), cache, os.Stderr)
}
