package token

// Keys is the key source of one issuer.
type Keys struct{}
