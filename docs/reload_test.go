package docs_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/config"
)

// TestKeysThatNeedARestart compares operations.md with the keys that a reload does not change.
func TestKeysThatNeedARestart(t *testing.T) {
	next := &config.Config{}
	fill(reflect.ValueOf(next).Elem())
	keys := config.KeepUntilRestart(&config.Config{}, next)
	if len(keys) == 0 {
		t.Fatal("no key needs a restart")
	}
	_, section, _ := strings.Cut(read(t, "operations.md"), "\n## Changing the configuration\n")
	list, _, found := strings.Cut(section, "need a restart")
	if !found {
		t.Fatal("docs/operations.md does not say what needs a restart")
	}
	list = list[strings.LastIndex(list, "\n- "):]
	for _, key := range keys {
		if !strings.Contains(list, "`"+key+"`") {
			t.Errorf("docs/operations.md does not say that %s needs a restart", key)
		}
	}
	if n := strings.Count(list, "`") / 2; n != len(keys) {
		t.Errorf("docs/operations.md names %d keys that need a restart, want %v", n, keys)
	}
}

// fill sets every text, number and flag below v.
func fill(v reflect.Value) {
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	case v.Kind() == reflect.String:
		v.SetString("x")
	case v.CanInt():
		v.SetInt(1)
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	}
}
