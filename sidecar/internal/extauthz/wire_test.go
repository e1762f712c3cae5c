package extauthz_test

import (
	"bytes"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/scimward/scimward/sidecar/internal/extauthz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// sub is a field of wire type 2.
func sub(n protowire.Number, parts ...string) string {
	return string(protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), strings.Join(parts, "")))
}

func number(n protowire.Number, v uint64) string {
	return string(protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v))
}

func attributes(parts ...string) string { return sub(1, parts...) }
func http(parts ...string) string       { return attributes(sub(4, sub(2, parts...))) }
func header(k, v, raw string) string    { return sub(1, sub(1, k), sub(2, v), sub(3, raw)) }

// wireCase is a message that a fast decoder may read differently from proto.Unmarshal.
type wireCase struct {
	name, msg string
	bad       bool // no message
}

func wireCases() []wireCase {
	socket := func(a string) string { return sub(1, sub(2, a)) }
	peer := func(addresses ...string) string { return attributes(sub(1, sub(1, addresses...))) }
	const group, endGroup = "\xa3\x06", "\xa4\x06" // of field 100
	return []wireCase{
		{name: "nothing"},
		{name: "page", msg: http(sub(2, "GET"), sub(4, "/a?b=c?d"), sub(5, "wiki.example"), sub(13, header("cookie", "", "a=b")))},
		{name: "extensions", msg: attributes(sub(10, sub(1, "surface"), sub(2, "app")), sub(10, sub(1, "tenant"), sub(2, "acme")))},
		{name: "extension twice", msg: attributes(sub(10, sub(1, "tenant"), sub(2, "acme")), sub(10, sub(1, "tenant"), sub(2, "globex")))},
		{name: "extension without a value", msg: attributes(sub(10, sub(1, "app"), sub(2, "x")), sub(10, sub(1, "app")))},
		{name: "extension without a key", msg: attributes(sub(10, sub(2, "x")))},
		{name: "extension, value first", msg: attributes(sub(10, sub(2, "acme"), sub(1, "x"), sub(1, "tenant")))},
		{name: "extension with another field", msg: attributes(sub(10, number(3, 7), sub(1, "app"), number(2, 1), sub(2, "x")))},
		{name: "scalar twice", msg: http(sub(2, "GET"), sub(2, "PUT"), sub(4, "/a"), sub(4, ""))},
		{name: "attributes twice", msg: http(sub(2, "GET"), sub(4, "/a")) + http(sub(4, "/b"), sub(5, "h")) + attributes()},
		{name: "header_map twice", msg: http(sub(13, header("a", "1", "")), sub(13, header("A", "", "2")), sub(13))},
		{name: "header twice in one value", msg: http(sub(13, sub(1, sub(1, "a"), sub(1, "b"), sub(3, "x"), sub(3, ""), sub(2, "v"))))},
		{name: "header without a name", msg: http(sub(13, sub(1)))},
		{name: "header_map before headers", msg: http(sub(13, header("a", "1", "")), sub(3, sub(1, "a"), sub(2, "2")))},
		{name: "header_map empty", msg: http(sub(13), sub(3, sub(1, "X-A"), sub(2, "1")), sub(3, sub(1, "x-a"), sub(2, "2")), sub(3, sub(1, "x-a"), sub(2, "3")))},
		{name: "raw bytes", msg: http(sub(13, header("a", "1", "\xff")), sub(12, "\xff\x00"))},
		{name: "body and raw_body", msg: http(sub(11, "b"), sub(12, "r"), sub(12, ""))},
		{name: "address twice", msg: peer(socket("1.1.1.1"), sub(1, number(3, 80)))},
		{name: "pipe replaces an address", msg: peer(socket("1.1.1.1"), sub(2, sub(1, "/s")))},
		{name: "internal address replaces an address", msg: peer(socket("1.1.1.1")) + peer(sub(3))},
		{name: "address after a pipe", msg: peer(socket("1.1.1.1"), sub(2), sub(1, number(3, 80)))},
		{name: "pipe of another wire type", msg: peer(socket("1.1.1.1"), number(2, 1))},
		{name: "pipe that is no message", msg: peer(socket("1.1.1.1"), sub(2, "\xff"))},
		{name: "unknown fields", msg: number(77, 1) + http(number(2, 5), sub(99, "x"), sub(2, "GET"), "\x9d\x06abcd", "\x99\x06abcdefgh")},
		{name: "wrong wire types", msg: number(1, 1) + http(number(4, 1), sub(2, "GET"), "\x2dabcd", "\x69abcdefgh")},
		{name: "group", msg: http(sub(2, "GET"), group, sub(4, "/in"), endGroup, sub(5, "h"))},
		{name: "group of a known field", msg: http("\x23", sub(4, "/in"), "\x24", sub(5, "h"))},
		{name: "group without an end", msg: http(group, sub(4, "/in")), bad: true},
		{name: "end without a group", msg: http(sub(4, "/a"), endGroup), bad: true},
		{name: "group with another end", msg: group + "\xac\x06", bad: true},
		{name: "deep groups", msg: strings.Repeat(group, 10_002) + strings.Repeat(endGroup, 10_002), bad: true},
		{name: "varints longer than needed", msg: "\x8a\x80\x00" + "\x89\x80\x80\x00" + sub(4, sub(2, "\xa2\x00\x81\x00/"))},
		{name: "field number 0", msg: "\x02\x00", bad: true},
		{name: "largest field number", msg: "\xfa\xff\xff\xff\x0f\x00"},
		{name: "field number too large", msg: "\x82\x80\x80\x80\x10\x00", bad: true},
		{name: "field number too large in a map", msg: attributes(sub(10, "\x82\x80\x80\x80\x10\x00")), bad: true},
		{name: "wire type 6", msg: "\x0e\x00", bad: true},
		{name: "wire type 7", msg: http("\x27\x00"), bad: true},
		{name: "tag of 11 bytes", msg: "\x8a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x00", bad: true},
		{name: "huge length", msg: "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", bad: true},
		{name: "length over 64 bits", msg: "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", bad: true},
		{name: "length past its message", msg: sub(1, "\x22\x05\x12") + "abcdefgh", bad: true},
		{name: "truncated", msg: http(sub(4, "/abc"))[:9], bad: true},
		{name: "tag alone", msg: "\x0a", bad: true},
		{name: "method not UTF-8", msg: http(sub(2, "\xff")), bad: true},
		{name: "path not UTF-8, then good", msg: http(sub(4, "/\xc0\xaf"), sub(4, "/")), bad: true},
		{name: "surrogate in a host", msg: http(sub(5, "\xed\xa0\x80")), bad: true},
		{name: "value not UTF-8 beside raw_value", msg: http(sub(13, header("a", "\xff", "x"))), bad: true},
		{name: "name not UTF-8", msg: http(sub(13, header("\xff", "", "x"))), bad: true},
		{name: "headers not UTF-8", msg: http(sub(3, sub(1, "\xff"))), bad: true},
		{name: "other extension not UTF-8", msg: attributes(sub(10, sub(1, "x"), sub(2, "\xff"))), bad: true},
		{name: "address not UTF-8", msg: peer(socket("\xff")), bad: true},
		{name: "body not UTF-8", msg: http(sub(11, "\xff")), bad: true},
		{name: "field not in use not UTF-8", msg: http(sub(4, "/"), sub(6, "\xff"))},
	}
}

// TestWireCases: the hand-made messages.
func TestWireCases(t *testing.T) {
	want := reduced(schema(t, everyField))
	for _, c := range wireCases() {
		t.Run(c.name, func(t *testing.T) {
			if _, err := extauthz.Decode([]byte(c.msg)); (err != nil) != c.bad {
				t.Errorf("error %v", err)
			}
			if diff := differ([]byte(c.msg), extauthz.Decode, want); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWireRandom: random messages and damaged ones decode as with proto.Unmarshal.
func TestWireRandom(t *testing.T) {
	want := reduced(schema(t, everyField))
	valid := 0
	for seed := range uint64(5_000) {
		msg := randomMessage(seed)
		if diff := differ(msg, extauthz.Decode, want); diff != "" {
			t.Fatalf("seed %d, %q: %s", seed, msg, diff)
		}
		if _, err := want(msg); err == nil {
			valid++
		}
	}
	if valid < 1_500 || valid > 4_500 {
		t.Errorf("%d messages are valid: the generator tests too little", valid)
	}
}

// TestWireFindsFaults: the comparison fails for each of these decoders with a fault.
func TestWireFindsFaults(t *testing.T) {
	want := reduced(schema(t, everyField))
	planted := func(edit func(f *descriptorpb.FieldDescriptorProto) bool) decoder {
		return reduced(schema(t, edit))
	}
	for name, faulty := range map[string]decoder{
		"text is not checked": planted(func(f *descriptorpb.FieldDescriptorProto) bool {
			if f.GetType() == descriptorpb.FieldDescriptorProto_TYPE_STRING {
				f.Type = descriptorpb.FieldDescriptorProto_TYPE_BYTES.Enum()
			}
			return true
		}),
		"a pipe does not replace an address": planted(func(f *descriptorpb.FieldDescriptorProto) bool {
			f.OneofIndex = nil
			return true
		}),
		"raw_value is not read": planted(func(f *descriptorpb.FieldDescriptorProto) bool {
			return f.GetName() != "raw_value"
		}),
		"the last attributes replace the others": func(msg []byte) (request.Request, error) {
			last := msg
			for b := msg; len(b) > 0; {
				num, _, n := protowire.ConsumeField(b)
				if n < 0 {
					break
				}
				if num == 1 {
					last = b
				}
				b = b[n:]
			}
			return want(last)
		},
		"a truncated message is taken": func(msg []byte) (request.Request, error) {
			r, err := want(msg)
			for n := len(msg) - 1; err != nil && n >= 0; n-- {
				r, err = want(msg[:n])
			}
			return r, err
		},
	} {
		found := 0
		for _, c := range wireCases() {
			if differ([]byte(c.msg), faulty, want) != "" {
				found++
			}
		}
		for seed := range uint64(2_000) {
			if differ(randomMessage(seed), faulty, want) != "" {
				found += 1_000
				break
			}
		}
		if found%1_000 == 0 || found < 1_000 {
			t.Errorf("%s: not found by both the cases and the random messages (%d)", name, found)
		}
	}
}

// TestUndecodable: a message that cannot be decoded fails the call. Envoy answers it with its
// status_on_error.
func TestUndecodable(t *testing.T) {
	k := newKit(t)
	err := k.conn.Invoke(t.Context(), authv3.Authorization_Check_FullMethodName,
		&authv3.AttributeContext_TLSSession{Sni: "\x0a\x05"}, &authv3.CheckResponse{}) // field 1 holds what is no message
	if status.Code(err) != codes.Internal {
		t.Errorf("error %v, want code Internal", err)
	}
	if k.logs.Len() > 0 || k.decider.got.Path != "" {
		t.Errorf("decided on it: %s", k.logs)
	}
}

// TestDecodedIsCopied: gRPC uses the buffer of a message again.
func TestDecodedIsCopied(t *testing.T) {
	in := checkRequest("app", "POST", "/a?b", "cookie", "a=1", "cookie", "b=2")
	in.Attributes.Request.Http.RawBody = []byte("body")
	msg := wire(t, in)
	want, err := extauthz.Decode(bytes.Clone(msg))
	if err != nil {
		t.Fatal(err)
	}
	got, err := extauthz.Decode(msg)
	if err != nil {
		t.Fatal(err)
	}
	clear(msg)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestKeptStringsAreSmall: who keeps a header keeps no body, and who keeps the name of a tenant no
// headers.
func TestKeptStringsAreSmall(t *testing.T) {
	in := checkRequest("app", "POST", "/", "cookie", "a=1", "x-long", strings.Repeat("h", 40_000))
	in.Attributes.Request.Http.RawBody = bytes.Repeat([]byte("b"), 100_000)
	msg := wire(t, in)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cookies, tenants := make([]string, 100), make([]string, 1000)
	for i := range tenants {
		r, err := extauthz.Decode(msg)
		if err != nil {
			t.Fatal(err)
		}
		tenants[i] = r.Tenant
		if i < len(cookies) {
			cookies[i] = r.Headers["cookie"][0]
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	const most = 8 << 20 // cookies with their headers; with bodies or headers of tenants it would be more
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > most {
		t.Errorf("%d bytes are kept, want at most %d", grown, most)
	}
	runtime.KeepAlive(cookies)
	runtime.KeepAlive(tenants)
}

// FuzzWire: any bytes decode as with proto.Unmarshal. Its testdata has messages as Envoy sends them.
func FuzzWire(f *testing.F) {
	cases := wireCases()
	files, err := filepath.Glob("testdata/fuzz/FuzzWire/*")
	if err != nil || len(files) < 3 || len(cases) < 40 {
		f.Fatalf("%d seeds in files and %d others, want at least 3 and 40: %v", len(files), len(cases), err)
	}
	for _, c := range cases {
		f.Add([]byte(c.msg))
	}
	for seed := range uint64(50) {
		f.Add(randomMessage(seed))
	}
	want := reduced(schema(f, everyField))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if diff := differ(msg, extauthz.Decode, want); diff != "" {
			t.Error(diff)
		}
	})
}
