package scim

// ReplaceWhole returns canonical operations under which the replace of a complex attribute clears the
// sub-attributes that its value omits. RFC 7644 §3.5.2.3 leaves them unchanged; some profiles read it
// otherwise. An operation without a path names parts, and stays as it is.
func ReplaceWhole(t *ResourceType, raw []RawOp, ops []Op) []Op {
	out := make([]Op, 0, len(ops))
	for _, op := range ops {
		if op.Kind == OpReplace && op.Value != nil && raw[op.Raw].HasPath && op.Path.Sub == "" && op.Path.Filter == nil {
			a, _ := t.resolve(op.Path.URN, op.Path.Attr, "")
			if a != nil && a.Type == typeComplex && !a.MultiValued {
				out = append(out, Op{Kind: OpRemove, Path: op.Path, Target: op.Target, Raw: op.Raw, lax: true})
			}
		}
		out = append(out, op)
	}
	return out
}
