package plugins

import (
	"context"
	"errors"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/scimward/scimward/plugins/abi"
)

// callKey finds the guestCall in the context of a host function.
type callKey struct{}

// errPointer ends a guest that passes a pointer outside its memory.
var errPointer = errors.New("plugins: pointer outside the guest's memory")

// abiFunction is one import of revoker_v1. The guest owns every buffer. run copies in both directions and
// keeps no pointer. If the function has no result, the result of run is dropped.
type abiFunction struct {
	params  []api.ValueType
	results []api.ValueType
	http    bool // needs the http capability
	run     func(c *guestCall, m api.Memory, stack []uint64) uint64
}

// arg returns parameter i as an unsigned number. In compiled code the upper half of a 32-bit stack slot
// is undefined.
func arg(stack []uint64, i int) uint32 { return uint32(stack[i]) }

// copyIn copies the guest's bytes at (ptr, n). It returns false if n is above limit.
func copyIn(m api.Memory, ptr, n uint32, limit int) ([]byte, bool) {
	if uint64(n) > uint64(limit) {
		return nil, false
	}
	b, ok := m.Read(ptr, n)
	if !ok {
		panic(errPointer)
	}
	return append([]byte(nil), b...), true
}

// copyOut copies src from off into the guest at (dst, n) and returns the number of bytes.
func copyOut(m api.Memory, src []byte, dst, off, n uint32) uint64 {
	if uint64(off) >= uint64(len(src)) {
		return 0
	}
	src = src[off:]
	if uint64(len(src)) > uint64(n) {
		src = src[:n]
	}
	if !m.Write(dst, src) {
		panic(errPointer)
	}
	return uint64(len(src))
}

func errno(e abi.Errno) uint64 { return uint64(uint32(int32(e))) }

// abiFunctions is the table of the functions that a guest may import, with types and bodies.
func abiFunctions() map[string]abiFunction {
	const i32, i64 = api.ValueTypeI32, api.ValueTypeI64
	sig := func(n int) []api.ValueType { return []api.ValueType{i32, i32, i32, i32}[:n] }
	long := []api.ValueType{i64}
	return map[string]abiFunction{
		"input_len": {sig(0), sig(1), false, func(c *guestCall, _ api.Memory, _ []uint64) uint64 {
			return uint64(len(c.input))
		}},
		"input_read": {sig(3), sig(1), false, func(c *guestCall, m api.Memory, s []uint64) uint64 {
			return copyOut(m, c.input, arg(s, 0), arg(s, 1), arg(s, 2))
		}},
		"output_write": {sig(2), sig(1), false, func(c *guestCall, m api.Memory, s []uint64) uint64 {
			b, ok := copyIn(m, arg(s, 0), arg(s, 1), maxOutput-len(c.output))
			if !ok {
				return errno(abi.ErrnoTooBig)
			}
			c.output = append(c.output, b...)
			return 0
		}},
		"report": {sig(2), sig(1), false, func(c *guestCall, m api.Memory, s []uint64) uint64 {
			doc, ok := copyIn(m, arg(s, 0), arg(s, 1), abi.ReportBytes)
			if !ok {
				return errno(abi.ErrnoTooBig)
			}
			return errno(c.report(doc))
		}},
		"log": {sig(3), sig(0), false, func(c *guestCall, m api.Memory, s []uint64) uint64 {
			line, _ := copyIn(m, arg(s, 1), min(arg(s, 2), maxLogLine), maxLogLine)
			c.log(int32(arg(s, 0)), line)
			return 0
		}},
		"deadline_ms": {sig(0), long, false, func(c *guestCall, _ api.Memory, _ []uint64) uint64 {
			return uint64(max(time.Until(c.end).Milliseconds(), 0))
		}},
		"now_ms": {sig(0), long, false, func(*guestCall, api.Memory, []uint64) uint64 {
			return uint64(time.Now().UnixMilli())
		}},
		"result_len": {sig(1), sig(1), false, func(c *guestCall, _ api.Memory, s []uint64) uint64 {
			return uint64(len(c.result(arg(s, 0))))
		}},
		"result_read": {sig(4), sig(1), false, func(c *guestCall, m api.Memory, s []uint64) uint64 {
			return copyOut(m, c.result(arg(s, 0)), arg(s, 1), arg(s, 2), arg(s, 3))
		}},
		"http_send": {sig(4), sig(1), true, func(c *guestCall, m api.Memory, s []uint64) uint64 {
			req, ok := copyIn(m, arg(s, 0), arg(s, 1), maxRequest)
			body, ok2 := copyIn(m, arg(s, 2), arg(s, 3), maxBody)
			if !ok || !ok2 {
				return errno(c.refuse(abi.ErrnoTooBig, `{"code":"contract","message":"request too big"}`))
			}
			return errno(c.send(req, body))
		}},
	}
}

// instantiateABI makes revoker_v1 available to guests. Outside a call, while an instance starts, the
// functions trap.
func instantiateABI(ctx context.Context, rt wazero.Runtime) error {
	b := rt.NewHostModuleBuilder(abi.Module)
	for name, f := range abiFunctions() {
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, stack []uint64) {
			c, ok := ctx.Value(callKey{}).(*guestCall)
			if !ok {
				panic(errors.New("plugins: " + abi.Module + " called outside a call"))
			}
			if r := f.run(c, m.Memory(), stack); len(f.results) > 0 {
				stack[0] = r
			}
		}), f.params, f.results).Export(name)
	}
	_, err := b.Instantiate(ctx)
	return err
}
