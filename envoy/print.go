package envoy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/scimward/scimward/sidecar/config"
)

// Print writes the Envoy configuration of cfg as YAML.
func Print(w io.Writer, cfg *config.Config) error {
	b, err := Bootstrap(cfg)
	if err != nil {
		return err
	}
	return printYAML(w, b, "# Envoy configuration, written by `scimward envoy bootstrap`."+
		" Change the scimward configuration and write it again.")
}

// printYAML validates a message and writes it below a comment.
func printYAML(w io.Writer, m proto.Message, comment string) error {
	if err := Validate(m); err != nil {
		return err
	}
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding the configuration: %w", err)
	}
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("reading the encoded configuration: %w", err)
	}
	_, err = fmt.Fprintln(w, comment)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := errors.Join(err, enc.Encode(doc), enc.Close()); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}

// Validate runs the generated rules of every message in m. It includes messages inside an Any,
// which the generated code skips. An Any that cannot be unpacked is an error, because its content
// cannot be checked.
func Validate(m proto.Message) error {
	var errs []error
	Walk(m, func(m proto.Message) {
		if a, ok := m.(*anypb.Any); ok {
			errs = append(errs, fmt.Errorf("%s cannot be unpacked", a.GetTypeUrl()))
		}
		if v, ok := m.(interface{ ValidateAll() error }); ok {
			if err := v.ValidateAll(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", m.ProtoReflect().Descriptor().FullName(), err))
			}
		}
	})
	return errors.Join(errs...)
}

// Walk calls fn for m and for every message in an Any below it. If an Any cannot be unpacked, fn
// gets the Any.
func Walk(m proto.Message, fn func(proto.Message)) {
	fn(m)
	walk(m.ProtoReflect(), fn)
}

func walk(m protoreflect.Message, fn func(proto.Message)) {
	if a, ok := m.Interface().(*anypb.Any); ok {
		inner, err := a.UnmarshalNew()
		if err != nil {
			fn(a)
			return
		}
		Walk(inner, fn)
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				walk(v.Message(), fn)
				return true
			})
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				walk(v.List().Get(i).Message(), fn)
			}
		case !f.IsMap() && !f.IsList() && f.Message() != nil:
			walk(v.Message(), fn)
		}
		return true
	})
}
