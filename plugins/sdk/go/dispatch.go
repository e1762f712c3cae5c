package revoker

import (
	"encoding/json"
	"slices"

	"github.com/scimward/scimward/plugins/abi"
)

// The results of an export.
const (
	codeOK          int32 = 0
	codeBadRequest  int32 = 1
	codeInternal    int32 = 2
	codeUnsupported int32 = 3
)

// dispatch runs one operation of p on the input document and returns the output document. Both the Wasm
// exports and the native harness call it.
func dispatch(p Plugin, op abi.Op, input []byte, h host) ([]byte, int32) {
	if op == abi.OpDescribe {
		return encode(abi.Description{
			Name: p.Name, Version: p.Version, Kinds: p.Kinds, Idempotent: true,
			Verify: p.Verify != nil, Identify: p.Identify != nil,
		})
	}
	c := &Context{host: h}
	if err := json.Unmarshal(input, &c.req); err != nil {
		return nil, codeBadRequest
	}
	switch {
	case op == abi.OpHealth && p.Health == nil:
		return encode(Health{Status: "ok"})
	case op == abi.OpHealth:
		return encode(p.Health(c))
	case op == abi.OpRevoke && p.Revoke != nil:
		return encode(revoke(p, c))
	case op == abi.OpVerify && p.Verify != nil:
		return encode(verify(p, c))
	case op == abi.OpIdentify && p.Identify != nil:
		return identify(p, c)
	default:
		return nil, codeUnsupported
	}
}

func encode(v any) ([]byte, int32) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, codeInternal
	}
	return b, codeOK
}

func revoke(p Plugin, c *Context) abi.Result {
	out := abi.Result{Kinds: []Result{}}
	for _, kind := range c.req.Kinds {
		if c.Left() <= 0 {
			break // the host makes "retry" of a kind without a report
		}
		c.kind = kind
		r := Unsupported("this plugin does not handle the kind")
		if slices.Contains(p.Kinds, kind) {
			r = clip(p.Revoke(c, kind))
		}
		r.Kind = kind
		c.Report(r)
		out.Kinds = append(out.Kinds, r)
	}
	return out
}

func verify(p Plugin, c *Context) abi.VerifyResult {
	out := abi.VerifyResult{Kinds: []abi.Liveness{}}
	for _, kind := range c.req.Kinds {
		if c.Left() <= 0 || !slices.Contains(p.Kinds, kind) {
			continue // a kind without an answer is unknown
		}
		c.kind, c.probe = kind, abi.Liveness{Probe: "list"}
		live, err := p.Verify(c, kind)
		if err != nil {
			c.Log(Warn, "verifying "+string(kind)+": "+err.Error())
			continue
		}
		c.probe.Kind, c.probe.Live = kind, live
		out.Kinds = append(out.Kinds, c.probe)
	}
	return out
}

func identify(p Plugin, c *Context) ([]byte, int32) {
	if len(c.req.Credentials) != 1 {
		return nil, codeBadRequest
	}
	owner, err := p.Identify(c, c.req.Credentials[0])
	if err != nil {
		return encode(Owner{Error: &abi.Error{Code: abi.CodeAppError, Message: err.Error(), Retryable: true}})
	}
	return encode(owner)
}
