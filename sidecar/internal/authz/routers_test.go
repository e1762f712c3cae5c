package authz_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/scimward/scimward/envoy/envoybin/foreign"
	"github.com/scimward/scimward/sidecar/internal/authz"
)

// spellingCount is how many spellings of denied routes each router gets.
const spellingCount = 8000

// routed is a kit whose app denies what the routers serve.
func routed(t *testing.T) *kit {
	t.Helper()
	return newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["app"]
		app.LocalWrites = nil
		for _, path := range deniedTemplates() {
			app.LocalWrites = append(app.LocalWrites, authz.LocalWrite{Path: path})
		}
		o.Tenants["acme"].Apps["app"] = app
	})
}

// checkRouter checks that every path that reached a handler is denied. Enough must have
// reached one, also of those that differ from a plain path.
func checkRouter(t *testing.T, name string, paths []string, reached []bool) {
	t.Helper()
	if len(reached) != len(paths) {
		t.Fatalf("%s: %d answers to %d paths", name, len(reached), len(paths))
	}
	k := routed(t)
	count, odd := 0, 0
	for i, path := range paths {
		if !reached[i] {
			continue
		}
		count++
		if strings.ContainsAny(path, "%;+\\") {
			odd++
		}
		if d := k.Decide(t.Context(), appReq(http.MethodPost, path)); d.Allowed() {
			t.Errorf("%s: POST %s reached the handler of a denied route, and it was allowed", name, path)
		}
	}
	if count < 50 || odd < 30 {
		t.Errorf("%s: %d paths reached a handler, %d of them odd: the test proves too little", name, count, odd)
	}
	t.Logf("%s: %d of %d paths reached a handler", name, count, len(paths))
}

// TestGoRouters compares the decisions with the Go routers ServeMux and chi.
func TestGoRouters(t *testing.T) {
	handled := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	mux, plain, lenient := http.NewServeMux(), chi.NewRouter(), chi.NewRouter()
	lenient.Use(middleware.CleanPath, middleware.StripSlashes, middleware.URLFormat)
	for _, path := range deniedTemplates() {
		mux.Handle("POST "+path, handled)
		plain.Method(http.MethodPost, path, handled)
		lenient.Method(http.MethodPost, path, handled)
	}
	paths := spellings(spellingCount)
	for name, router := range map[string]http.Handler{"ServeMux": mux, "chi": plain, "chi with its path middleware": lenient} {
		reached := make([]bool, len(paths))
		for i, path := range paths {
			req, err := http.ReadRequest(bufio.NewReader(strings.NewReader("POST " + path + " HTTP/1.1\r\nHost: app.example\r\n\r\n")))
			if err != nil {
				continue // the server answers 400
			}
			w := httptest.NewRecorder()
			router.ServeHTTP(w, req)
			reached[i] = w.Code == http.StatusTeapot
		}
		checkRouter(t, name, paths, reached)
	}
}

// TestPythonRouters compares the decisions with Flask and Starlette.
func TestPythonRouters(t *testing.T) {
	dir := foreign.Python(t, "testdata/routers/requirements.txt")
	cmd := exec.CommandContext(t.Context(), "python3", "-B", "testdata/routers/routers.py")
	cmd.Env = append(os.Environ(), "PYTHONPATH="+dir)
	askRouters(t, cmd)
}

// askRouters runs a program that tells which paths reach a handler, for each of its routers.
func askRouters(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	paths := spellings(spellingCount)
	work, err := json.Marshal(map[string]any{"templates": deniedTemplates(), "paths": paths})
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(work), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("running %s: %v\n%s", cmd, err, stderr.String())
	}
	var answers map[string][]bool
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) < 2 {
		t.Fatalf("%d routers answered: %v\n%s", len(answers), err, stderr.String())
	}
	for name, reached := range answers {
		checkRouter(t, name, paths, reached)
	}
}

// TestLegitimatePaths: recorded paths of real applications are not refused, although the
// application has local writes and takes escaped slashes.
func TestLegitimatePaths(t *testing.T) {
	f, err := os.Open("testdata/routers/legitimate.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	k := routed(t)
	count, slashes := 0, 0
	for line := range strings.Lines(string(text)) {
		var method, path string
		if n, err := fmt.Sscan(line, &method, &path); err != nil || n != 2 || strings.HasPrefix(line, "#") {
			if !strings.HasPrefix(line, "#") {
				t.Errorf("%q is not a method and a path", line)
			}
			continue
		}
		count++
		if strings.Contains(strings.ToLower(path), "%2f") {
			slashes++
		}
		for _, m := range []string{method, http.MethodPost} { // POST is denied on more routes than the recorded method
			if d := k.Decide(t.Context(), appReq(m, path, header("content-length", "0"))); !d.Allowed() {
				t.Errorf("%s %s: %d %s (%s)", m, path, d.Status, d.Reason, d.Detail)
			}
		}
	}
	if count < 200 || slashes < 30 {
		t.Errorf("%d paths, %d with an escaped slash; want at least 200 and 30", count, slashes)
	}
}
