package plugins

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/scimward/scimward/plugins/abi"
)

// frameType is the type of a frame. A frame is
//
//	u32 length of the rest | u8 type | u32 call id | payload
//
// all little endian. Most payloads have two parts: u32 length of the head and the head as JSON, then raw
// bytes (a module, an input, a body). Both ends are this program, but the host does not trust the frames,
// because a guest may exploit a bug in the Wasm engine.
type frameType uint8

const (
	frameLoad     frameType = iota + 1 // host -> worker: loadMsg, module
	frameReady                         // worker -> host: readyMsg
	frameCall                          // host -> worker: callMsg, input document
	frameCancel                        // host -> worker: the deadline of the call has passed
	frameDone                          // worker -> host: doneMsg, output document
	frameReport                        // worker -> host: one KindResult
	frameLog                           // worker -> host: u8 level, text
	frameSend                          // worker -> host: abi.HTTPRequest, body
	frameReply                         // host -> worker: replyMsg, body
	frameCompiled                      // worker -> host: the module is compiled and checked
)

// frameHeader is the length of type and call id.
const frameHeader = 5

// The bounds of plugin documents.
const (
	maxModule    = 16 << 20
	maxInput     = 256 << 10
	maxOutput    = 256 << 10
	maxRequest   = 64 << 10 // metadata of one HTTP request
	maxBody      = 1 << 20  // body of one HTTP request or answer
	maxReports   = 256      // in one call
	maxLogLine   = 4 << 10
	maxLogBytes  = 64 << 10 // in one call
	maxFrameHead = 64 << 10
)

// maxPayload bounds a frame of type t. It is -1 for a type that does not exist.
func (t frameType) maxPayload() int {
	switch t {
	case frameLoad:
		return maxModule + maxFrameHead
	case frameReady, frameDone:
		return maxOutput + maxFrameHead
	case frameCall:
		return maxInput + maxFrameHead
	case frameCancel, frameCompiled:
		return 0
	case frameReport:
		return abi.ReportBytes
	case frameLog:
		return maxLogLine + 1
	case frameSend:
		return maxRequest + maxBody + 4
	case frameReply:
		return maxBody + 2*maxFrameHead
	default:
		return -1
	}
}

// errFrame means that a frame breaks the protocol.
var errFrame = errors.New("plugins: broken frame")

type frame struct {
	typ     frameType
	call    uint32
	payload []byte
}

// readFrame reads one frame. It allocates memory only after it has checked the length against the bound
// of the type. At a clean end it returns io.EOF.
func readFrame(r io.Reader) (frame, error) {
	var h [4 + frameHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return frame{}, err
	}
	n := int64(binary.LittleEndian.Uint32(h[:])) - frameHeader
	f := frame{typ: frameType(h[4]), call: binary.LittleEndian.Uint32(h[5:])}
	if limit := int64(f.typ.maxPayload()); n < 0 || n > limit {
		return frame{}, fmt.Errorf("%w: type %d with %d bytes", errFrame, f.typ, n)
	}
	f.payload = make([]byte, n)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return frame{}, fmt.Errorf("%w: cut short: %w", errFrame, err)
	}
	return f, nil
}

// appendFrame appends the wire form of f. A payload above its bound is an error here too, so that the
// sender sees it.
func appendFrame(b []byte, f frame) ([]byte, error) {
	if len(f.payload) > f.typ.maxPayload() {
		return b, fmt.Errorf("%w: type %d with %d bytes", errFrame, f.typ, len(f.payload))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.payload)+frameHeader))
	b = append(b, byte(f.typ))
	b = binary.LittleEndian.AppendUint32(b, f.call)
	return append(b, f.payload...), nil
}

// joinParts makes a two-part payload: head as JSON, then body.
func joinParts(head any, body []byte) ([]byte, error) {
	doc, err := json.Marshal(head)
	if err != nil {
		return nil, fmt.Errorf("encoding a frame's head: %w", err)
	}
	return joinRaw(doc, body), nil
}

// joinRaw is joinParts for an encoded head. A guest may have encoded it badly.
func joinRaw(doc, body []byte) []byte {
	b := make([]byte, 0, 4+len(doc)+len(body))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(doc)))
	b = append(b, doc...)
	return append(b, body...)
}

// splitParts is the inverse of joinParts. It decodes the head into v.
func splitParts(payload []byte, v any) (body []byte, err error) {
	head, body, err := splitRaw(payload)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(head, v); err != nil {
		return nil, fmt.Errorf("%w: decoding the head: %w", errFrame, err)
	}
	return body, nil
}

// splitRaw is the inverse of joinRaw.
func splitRaw(payload []byte) (head, body []byte, err error) {
	if len(payload) < 4 {
		return nil, nil, fmt.Errorf("%w: no head", errFrame)
	}
	n := uint64(binary.LittleEndian.Uint32(payload))
	rest := payload[4:]
	if n > uint64(len(rest)) {
		return nil, nil, fmt.Errorf("%w: head of %d bytes in %d", errFrame, n, len(rest))
	}
	return rest[:n], rest[n:], nil
}

// loadMsg tells a worker which module to run and how.
type loadMsg struct {
	CacheDir         string
	MemoryMiB        int
	Idle             int // instances kept for later calls
	CallsPerInstance int
	HTTP             bool  // the guest may import http_send
	GoMemory         int64 // soft limit of the worker's own heap, bytes
}

// readyMsg is the worker's answer to loadMsg. Fault gives the stage and the reason if loading failed.
type readyMsg struct {
	Fault       string
	Unconfined  string // why the kernel does not confine the worker, "" if it does
	Verify      bool   // the module has an export of this name
	Identify    bool
	Description json.RawMessage
}

// callMsg starts one call.
type callMsg struct {
	Op         string
	DeadlineMS int64
}

// doneMsg ends one call. Fault is empty if the export returned.
type doneMsg struct {
	Code  int32
	Fault string // only abi.CodeTrap or abi.CodeDeadline
	Note  string // why, for the operator
}

// replyMsg answers http_send. Meta is an abi.HTTPResponse.
type replyMsg struct {
	Errno int32
	Meta  json.RawMessage
}
