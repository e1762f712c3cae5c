package extauthz_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// inUse are the fields that the decoder reads, by the last part of the message's name.
func inUse() map[string][]string {
	return map[string][]string{
		"CheckRequest":     {"attributes"},
		"AttributeContext": {"source", "destination", "request", "context_extensions"},
		"Peer":             {"address", "certificate"},
		"Address":          {"socket_address", "pipe", "envoy_internal_address"},
		"SocketAddress":    {"address"},
		"Request":          {"http"},
		"HttpRequest":      {"method", "headers", "path", "host", "body", "raw_body", "header_map"},
		"HeaderMap":        {"headers"},
		"HeaderValue":      {"key", "value", "raw_value"},
	}
}

// schema is Envoy's CheckRequest with the fields in use only. The two messages of an address
// whose content is not read are bytes. A map is a list of its entries, which is the same on the
// wire: dynamicpb panics on an entry whose second key has another wire type. edit changes a field
// of it, and drops it by returning false.
func schema(tb testing.TB, edit func(f *descriptorpb.FieldDescriptorProto) bool) protoreflect.MessageDescriptor {
	tb.Helper()
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("reduced.proto"), Package: proto.String("reduced"), Syntax: proto.String("proto3"),
	}
	used, added := inUse(), map[protoreflect.Name]bool{}
	var add func(md protoreflect.MessageDescriptor)
	add = func(md protoreflect.MessageDescriptor) {
		if added[md.Name()] {
			return
		}
		added[md.Name()] = true
		from := protodesc.ToDescriptorProto(md)
		to := &descriptorpb.DescriptorProto{Name: from.Name, OneofDecl: from.OneofDecl}
		file.MessageType = append(file.MessageType, to)
		for _, f := range from.Field {
			f.Options = nil
			if !slices.Contains(used[from.GetName()], f.GetName()) || !edit(f) {
				continue
			}
			to.Field = append(to.Field, f)
			sub := md.Fields().ByNumber(protoreflect.FieldNumber(f.GetNumber())).Message()
			switch {
			case sub == nil:
			case sub.IsMapEntry():
				entry := protodesc.ToDescriptorProto(sub)
				entry.Options = nil
				to.NestedType = append(to.NestedType, entry)
				f.TypeName = proto.String(".reduced." + from.GetName() + "." + entry.GetName())
			case used[string(sub.Name())] == nil:
				f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_BYTES.Enum(), nil
			default:
				f.TypeName = proto.String(".reduced." + string(sub.Name()))
				add(sub)
			}
		}
		if !slices.ContainsFunc(to.Field, func(f *descriptorpb.FieldDescriptorProto) bool { return f.OneofIndex != nil }) {
			to.OneofDecl = nil
		}
	}
	add((&authv3.CheckRequest{}).ProtoReflect().Descriptor())
	fd, err := protodesc.NewFile(file, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return fd.Messages().ByName("CheckRequest")
}

func everyField(*descriptorpb.FieldDescriptorProto) bool { return true }

type decoder func(msg []byte) (request.Request, error)

// reduced decodes with proto.Unmarshal by the schema md.
func reduced(md protoreflect.MessageDescriptor) decoder {
	return func(msg []byte) (request.Request, error) {
		m := dynamicpb.NewMessage(md)
		if err := proto.Unmarshal(msg, m); err != nil {
			return request.Request{}, err
		}
		return read(m), nil
	}
}

// generated decodes with proto.Unmarshal into the generated message.
func generated(msg []byte) (request.Request, error) {
	m := &authv3.CheckRequest{}
	if err := proto.Unmarshal(msg, m); err != nil {
		return request.Request{}, err
	}
	return read(m.ProtoReflect()), nil
}

// read is the reference: what a Request gets from a decoded CheckRequest.
func read(m protoreflect.Message) request.Request {
	attrs := under(m, "attributes")
	http := under(attrs, "request", "http")
	ext := textMap(value(attrs, "context_extensions"))
	out := request.Request{
		Surface: request.Surface(ext["surface"]), Tenant: ext["tenant"], App: ext["app"], Passes: ext["passes"],
		Method: text(value(http, "method")), Host: text(value(http, "host")),
		Remote:  text(value(under(attrs, "source", "address", "socket_address"), "address")),
		Proxy:   text(value(under(attrs, "destination", "address", "socket_address"), "address")),
		Headers: request.Headers{},
	}
	if c := text(value(under(attrs, "source"), "certificate")); c != "" {
		out.Certificate = &request.Certificate{Escaped: c}
	}
	out.Path, out.Query, _ = strings.Cut(text(value(http, "path")), "?")
	for _, name := range []protoreflect.Name{"body", "raw_body"} {
		if b := text(value(http, name)); b != "" {
			out.Body = []byte(b)
		}
	}
	list := value(under(http, "header_map"), "headers").List()
	for i := range list.Len() {
		h := list.Get(i).Message()
		v := text(value(h, "value"))
		if raw := text(value(h, "raw_value")); raw != "" {
			v = raw
		}
		k := strings.ToLower(text(value(h, "key")))
		out.Headers[k] = append(out.Headers[k], v)
	}
	if list.Len() > 0 {
		return out
	}
	headers := textMap(value(http, "headers"))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		k := strings.ToLower(name)
		out.Headers[k] = append(out.Headers[k], headers[name])
	}
	return out
}

// textMap reads a map, or the list of its entries.
func textMap(v protoreflect.Value) map[string]string {
	out := map[string]string{}
	switch m := v.Interface().(type) {
	case protoreflect.Map:
		m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			out[k.String()] = v.String()
			return true
		})
	case protoreflect.List:
		for i := range m.Len() {
			e := m.Get(i).Message()
			out[text(value(e, "key"))] = text(value(e, "value"))
		}
	}
	return out
}

func under(m protoreflect.Message, path ...protoreflect.Name) protoreflect.Message {
	for _, name := range path {
		m = value(m, name).Message()
	}
	return m
}

// value is the field of m, its default if a planted schema does not have it.
func value(m protoreflect.Message, name protoreflect.Name) protoreflect.Value {
	if fd := m.Descriptor().Fields().ByName(name); fd != nil {
		return m.Get(fd)
	}
	return protoreflect.ValueOfString("")
}

func text(v protoreflect.Value) string {
	if b, ok := v.Interface().([]byte); ok {
		return string(b)
	}
	return v.String()
}

// differ compares a decoder with proto.Unmarshal. The reduced schema says when a message is
// refused: a fault in a field that is not in use refuses the generated message only.
func differ(msg []byte, got, want decoder) string {
	g, gerr := got(msg)
	w, werr := want(msg)
	switch {
	case (gerr != nil) != (werr != nil):
		return fmt.Sprintf("error %v, want %v", gerr, werr)
	case werr != nil:
		if _, err := generated(msg); err == nil {
			return "the generated message takes what the reduced schema refuses"
		}
		return ""
	}
	if diff := compare(w, g); diff != "" {
		return diff
	}
	if full, err := generated(msg); err == nil {
		return compare(full, g)
	}
	return ""
}

func compare(want, got request.Request) string {
	if len(want.Body) == 0 && len(got.Body) == 0 {
		want.Body, got.Body = nil, nil
	}
	return cmp.Diff(want, got)
}

// randomMessage returns a message of the generated type whose fields come in any order and
// number. Every other one is damaged.
func randomMessage(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	g := generator{r: r, used: inUse()}
	msg := g.message((&authv3.CheckRequest{}).ProtoReflect().Descriptor(), 9)
	for range r.IntN(4) * int(seed%2) {
		if len(msg) == 0 {
			break
		}
		switch at := r.IntN(len(msg)); r.IntN(4) {
		case 0:
			msg = msg[:at]
		case 1:
			msg = slices.Insert(msg, at, byte(r.Uint32()))
		case 2:
			msg = slices.Delete(msg, at, at+1)
		default:
			msg[at] ^= 1 << r.IntN(8)
		}
	}
	return msg
}

type generator struct {
	r    *rand.Rand
	used map[string][]string
}

func (g *generator) message(md protoreflect.MessageDescriptor, depth int) (out []byte) {
	all := md.Fields()
	used := g.used[string(md.Name())]
	for range g.r.IntN(6) {
		fd := all.Get(g.r.IntN(all.Len()))
		if len(used) > 0 && g.r.IntN(8) > 0 {
			fd = all.ByName(protoreflect.Name(used[g.r.IntN(len(used))]))
		}
		switch g.r.IntN(40) {
		case 0:
			out = protowire.AppendVarint(protowire.AppendTag(out, fd.Number(), protowire.VarintType), g.r.Uint64())
		case 1:
			out = protowire.AppendFixed32(protowire.AppendTag(out, fd.Number(), protowire.Fixed32Type), g.r.Uint32())
		case 2:
			out = protowire.AppendTag(out, fd.Number(), protowire.StartGroupType)
			out = protowire.AppendTag(out, fd.Number(), protowire.EndGroupType)
		case 3:
			out = protowire.AppendString(protowire.AppendTag(out, 1000, protowire.BytesType), g.text())
		default:
			out = g.field(out, fd, depth)
		}
	}
	return out
}

func (g *generator) field(out []byte, fd protoreflect.FieldDescriptor, depth int) []byte {
	tag := protowire.AppendTag(out, fd.Number(), protowire.BytesType)
	switch {
	case fd.Message() != nil && depth > 0:
		return protowire.AppendBytes(tag, g.message(fd.Message(), depth-1))
	case fd.Kind() == protoreflect.StringKind || fd.Kind() == protoreflect.BytesKind:
		return protowire.AppendString(tag, g.text())
	}
	return out
}

func (g *generator) text() string {
	if g.r.IntN(400) == 0 {
		return "\xff"
	}
	words := []string{"", "surface", "tenant", "app", "passes", "x-a", "X-A", "/p?q", "é", "1.2.3.4", strings.Repeat("l", 200)}
	return words[g.r.IntN(len(words))]
}
