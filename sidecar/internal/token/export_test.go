package token

// SetMaxProofs changes how many proofs are remembered.
func SetMaxProofs(p *Proofs, n int) { p.used.most = n }
