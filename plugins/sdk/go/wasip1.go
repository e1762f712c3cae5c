//go:build wasip1

package revoker

import (
	"unsafe"

	"github.com/scimward/scimward/plugins/abi"
)

// The imports of revoker_v1. Every pointer is into a buffer of this module. The host copies before it
// returns.

//go:wasmimport revoker_v1 input_len
func inputLen() int32

//go:wasmimport revoker_v1 input_read
func inputRead(dst unsafe.Pointer, off, n int32) int32

//go:wasmimport revoker_v1 output_write
func outputWrite(src unsafe.Pointer, n int32) int32

//go:wasmimport revoker_v1 report
func hostReport(src unsafe.Pointer, n int32) int32

//go:wasmimport revoker_v1 log
func hostLog(level int32, src unsafe.Pointer, n int32)

//go:wasmimport revoker_v1 deadline_ms
func hostDeadline() int64

//go:wasmimport revoker_v1 now_ms
func hostNow() int64

//go:wasmimport revoker_v1 result_len
func resultLen(which int32) int32

//go:wasmimport revoker_v1 result_read
func resultRead(which int32, dst unsafe.Pointer, off, n int32) int32

//go:wasmimport revoker_v1 http_send
func httpSend(req unsafe.Pointer, n int32, body unsafe.Pointer, bn int32) int32

var plugin Plugin

func register(p Plugin) { plugin = p }

func ptr(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

// wasmHost is the host behind the imports.
type wasmHost struct{}

func (wasmHost) report(doc []byte) int32      { return hostReport(ptr(doc), int32(len(doc))) }
func (wasmHost) log(level int32, line []byte) { hostLog(level, ptr(line), int32(len(line))) }
func (wasmHost) now() int64                   { return hostNow() }
func (wasmHost) left() int64                  { return hostDeadline() }

func (wasmHost) send(req, body []byte) (int32, []byte, []byte) {
	errno := httpSend(ptr(req), int32(len(req)), ptr(body), int32(len(body)))
	return errno, result(0), result(1)
}

func result(which int32) []byte {
	b := make([]byte, max(resultLen(which), 0))
	if len(b) == 0 {
		return nil
	}
	return b[:max(resultRead(which, ptr(b), 0, int32(len(b))), 0)]
}

func run(op abi.Op) int32 {
	var in []byte
	if n := inputLen(); n > 0 {
		in = make([]byte, n)
		in = in[:max(inputRead(ptr(in), 0, n), 0)]
	}
	out, code := dispatch(plugin, op, in, wasmHost{})
	if len(out) > 0 {
		if errno := outputWrite(ptr(out), int32(len(out))); errno != 0 {
			return codeInternal
		}
	}
	return code
}

//go:wasmexport abi_version
func abiVersion() int32 { return int32(abi.Version) }

//go:wasmexport describe
func exportDescribe() int32 { return run(abi.OpDescribe) }

//go:wasmexport health
func exportHealth() int32 { return run(abi.OpHealth) }

//go:wasmexport revoke
func exportRevoke() int32 { return run(abi.OpRevoke) }

//go:wasmexport verify
func exportVerify() int32 { return run(abi.OpVerify) }

//go:wasmexport identify
func exportIdentify() int32 { return run(abi.OpIdentify) }
