package plugins_test

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	. "github.com/scimward/scimward/plugins/plugintest"
)

// liar plays a worker under the control of a guest. It reads the module, says that it is ready, and
// answers the first call with the bytes given. It returns the exit code.
func liar(answer string) int {
	b, err := hex.DecodeString(answer)
	if err != nil || skipFrame(os.Stdin) != nil {
		return 1
	}
	ready, err := json.Marshal(map[string]any{
		"Description": map[string]any{"name": "handmade", "version": "1", "kinds": []abi.Kind{abi.KindWebSession}},
	})
	if err != nil {
		return 1
	}
	hello := append(wire(5, 10, ""), parts(2, ready)...)
	if _, err := os.Stdout.Write(hello); err != nil || skipFrame(os.Stdin) != nil {
		return 1
	}
	if len(b) == 0 { // start a child that has the pipes
		child := exec.Command("/bin/sleep", "600")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if child.Start() != nil {
			return 1
		}
	}
	if _, err := os.Stdout.Write(b); err != nil {
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the host closes the pipe
	return 0
}

// silentServer returns the URL of a server that takes connections and never answers, so that a request
// to it is still on its way when the worker sends its next frame.
func silentServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // the system refuses what still waits
	return "http://" + l.Addr().String()
}

func skipFrame(r io.Reader) error {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, r, int64(binary.LittleEndian.Uint32(n[:])))
	return err
}

// parts returns a frame of the first call with a head and no body.
func parts(typ byte, head []byte) []byte {
	payload := string(binary.LittleEndian.AppendUint32(nil, uint32(len(head)))) + string(head)
	return wire(uint32(len(payload)+5), typ, payload)
}

// TestHostTrustsNoWorker: a frame that breaks the protocol ends the worker, and the kind is
// retried, never done.
func TestHostTrustsNoWorker(t *testing.T) {
	done := []byte(`{"Code":0}`)
	silent := silentServer(t)
	ask := []byte(`{"method":"GET","url":"` + silent + `/"}`)
	manifest := HandmadeManifest()
	manifest.Capabilities.HTTP = []plugins.HTTPNeed{{BaseURL: "base"}}
	for name, answer := range map[string][]byte{
		"undeclared fault":         parts(5, []byte(`{"Fault":"undeclared-label"}`)),
		"head that is no JSON":     parts(5, []byte(`]]`)),
		"no head":                  wire(5, 5, ""),
		"frame for a worker":       parts(9, []byte(`{}`)),
		"type that does not exist": wire(5, 99, ""),
		"call that was not made":   append(append(wire(5, 5, "")[:5], 9, 0, 0, 0), parts(5, done)...),
		"ready twice":              append(parts(2, []byte(`{}`)), parts(2, []byte(`{}`))...),
		"compiled twice":           wire(5, 10, ""),
		"log without a level":      wire(5, 7, ""),
		"two requests at once":     append(parts(8, ask), parts(8, ask)...),
		"too many reports":         []byte(strings.Repeat(string(wire(7, 6, "{}")), 257)),
		"four gigabytes":           wire(0xffffffff, 5, ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := Local(t, silent, Handmade(nil).Write(t), manifest, nil)
			self := []string{os.Args[0], "plugin-liar", hex.EncodeToString(answer)}
			h := Open(t, plugins.Options{Plugins: []plugins.Config{cfg}, Self: self})
			if err := h.Ready(); err != nil {
				t.Fatal(err)
			}
			got := revoke(t, h, request(""))
			want := []abi.KindResult{{Kind: abi.KindWebSession, State: abi.StateRetry, Code: abi.CodeTrap, Message: "the worker died: "}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWorkerWithAChild: the child of a compromised worker dies with it and does not delay Close.
func TestWorkerWithAChild(t *testing.T) {
	cfg := Local(t, "", Handmade(nil).Write(t), HandmadeManifest(), nil)
	cfg.Grant.Limits.TimeoutMS = 300
	h := Open(t, plugins.Options{Plugins: []plugins.Config{cfg}, Self: []string{os.Args[0], "plugin-liar", ""}})
	if got := revoke(t, h, request(""))[0]; got.Code != abi.CodeDeadline {
		t.Errorf("the first call: %+v, want code deadline", got)
	}
	closed := make(chan error, 1)
	go func() { closed <- h.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(3 * time.Minute):
		t.Error("Close waits for the child of a dead worker, want it to return")
	}
}
