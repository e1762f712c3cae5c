package plugins_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
)

// Module is a hand-written Wasm module, for tests that need one that no compiler makes. Bodies of
// functions are raw Wasm instructions without the final end.
type Module struct {
	Imports      []Import
	Funcs        []Func
	Data         string // at offset DataAt of the memory
	Pages        int    // memory, in pages of 64 KiB; 0: one
	NoMemory     bool
	ImportMemory bool
	Table        bool // a table of 1 funcref, without a maximum
	Start        int  // 1 + the index of the start function among Funcs; 0: none
}

// DataAt is the memory offset of Module.Data.
const DataAt = 1024

// Import is an imported function of Params i32 parameters.
type Import struct {
	Module, Name string
	Params       int
	Void         bool // no result; otherwise one i32
}

// Func is one function, exported if it has a name. It takes Params i32 parameters and returns one
// i32, or nothing if Void.
type Func struct {
	Name   string
	Params int
	Void   bool
	Locals byte // i32 locals
	Body   []byte
}

// I32 pushes the constant n.
func I32(n int) []byte { return append([]byte{0x41}, sleb(int64(n))...) }

// CallFn calls function i. Imports come first.
func CallFn(i int) []byte { return append([]byte{0x10}, uleb(uint64(i))...) }

// Drop drops a value.
func Drop() []byte { return []byte{0x1a} }

// Unreachable traps.
func Unreachable() []byte { return []byte{0x00} }

// MemoryFill fills memory: offset, value, length.
func MemoryFill() []byte { return []byte{0xfc, 0x0b, 0x00} }

// TableGrow grows table 0: initial reference, count.
func TableGrow() []byte { return []byte{0xfc, 0x0f, 0x00} }

// RefNull pushes a null funcref.
func RefNull() []byte { return []byte{0xd0, 0x70} }

// Forever repeats instructions that leave the stack as it is.
func Forever(b ...[]byte) []byte {
	return Seq([]byte{0x03, 0x40}, Seq(b...), []byte{0x0c, 0x00, 0x0b})
}

// Seq joins instructions.
func Seq(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// Write encodes the module into a file and returns its path.
func (m Module) Write(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "module.wasm")
	if err := os.WriteFile(path, m.Encode(), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// Encode returns the module's bytes (WebAssembly Core 2.0 §5.5).
func (m Module) Encode() []byte {
	out := []byte{0, 'a', 's', 'm', 1, 0, 0, 0}
	pages := max(m.Pages, 1)
	var types, imports, funcs, exports, code [][]byte
	for _, i := range m.Imports {
		imports = append(imports, Seq(name(i.Module), name(i.Name), []byte{0}, uleb(uint64(len(types)))))
		types = append(types, typ(i.Params, i.Void))
	}
	if m.ImportMemory {
		imports = append(imports, Seq(name("env"), name("memory"), []byte{2, 0}, uleb(uint64(pages))))
	}
	for i, f := range m.Funcs {
		funcs = append(funcs, uleb(uint64(len(types))))
		types = append(types, typ(f.Params, f.Void))
		if f.Name != "" {
			exports = append(exports, Seq(name(f.Name), []byte{0}, uleb(uint64(len(m.Imports)+i))))
		}
		locals := []byte{0}
		if f.Locals > 0 {
			locals = []byte{1, f.Locals, 0x7f}
		}
		body := Seq(locals, f.Body, []byte{0x0b})
		code = append(code, Seq(uleb(uint64(len(body))), body))
	}
	if !m.NoMemory {
		exports = append(exports, Seq(name("memory"), []byte{2, 0}))
	}
	section := func(id byte, items [][]byte) {
		if len(items) > 0 {
			b := Seq(uleb(uint64(len(items))), Seq(items...))
			out = Seq(out, []byte{id}, uleb(uint64(len(b))), b)
		}
	}
	section(1, types)
	section(2, imports)
	section(3, funcs)
	if m.Table {
		section(4, [][]byte{{0x70, 0, 1}})
	}
	if !m.NoMemory && !m.ImportMemory {
		section(5, [][]byte{Seq([]byte{0}, uleb(uint64(pages)))})
	}
	section(7, exports)
	if m.Start > 0 {
		b := uleb(uint64(len(m.Imports) + m.Start - 1))
		out = Seq(out, []byte{8}, uleb(uint64(len(b))), b)
	}
	section(10, code)
	if m.Data != "" {
		section(11, [][]byte{Seq([]byte{0}, I32(DataAt), []byte{0x0b}, name(m.Data))})
	}
	return out
}

func typ(params int, void bool) []byte {
	t := Seq([]byte{0x60}, uleb(uint64(params)))
	for range params {
		t = append(t, 0x7f)
	}
	if void {
		return append(t, 0)
	}
	return append(t, 1, 0x7f)
}

func name(s string) []byte { return append(uleb(uint64(len(s))), s...) }

func uleb(n uint64) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		if n >>= 7; n == 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func sleb(n int64) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if (n == 0 && b&0x40 == 0) || (n == -1 && b&0x40 != 0) {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

// HandmadeManifest is the manifest of the modules of Handmade.
func HandmadeManifest() plugins.Manifest {
	return plugins.Manifest{Name: "handmade", Version: "1", Kinds: []abi.Kind{abi.KindWebSession}}
}

// OutputWrite is the index of the import output_write in a Handmade module.
const OutputWrite = 0

// Handmade returns a module that loads and has body as its revoke. The functions in more have the
// indexes 5 and up.
func Handmade(body []byte, more ...Func) Module {
	doc := `{"name":"handmade","version":"1","kinds":["web_session"],"idempotent":true}`
	return Module{
		Imports: []Import{{Module: abi.Module, Name: "output_write", Params: 2}},
		Data:    doc,
		Funcs: append([]Func{
			{Name: "abi_version", Body: I32(int(abi.Version))},
			{Name: "describe", Body: Seq(I32(DataAt), I32(len(doc)), CallFn(OutputWrite))},
			{Name: "health", Body: I32(0)},
			{Name: "revoke", Body: body},
		}, more...),
	}
}
