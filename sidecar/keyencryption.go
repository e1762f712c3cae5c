package sidecar

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/scimward/scimward/sidecar/internal/oauth"
)

// keyEncryption reads the key-encryption keys that the configuration names.
func (s *Server) keyEncryption(ctx context.Context, o *oauth.Options) error {
	keys := s.opts.Config.TokenKeys
	for _, f := range []struct {
		file string
		to   **oauth.KeyEncryptionKey
	}{
		{keys.KeyEncryptionKeyFile, &o.Encryption}, {keys.FormerKeyEncryptionKeyFile, &o.FormerEncryption},
	} {
		if f.file == "" {
			continue
		}
		text, err := os.ReadFile(f.file)
		if err != nil {
			return fmt.Errorf("reading the key-encryption key: %w", err)
		}
		if *f.to, err = oauth.NewKeyEncryptionKey(text); err != nil {
			return fmt.Errorf("reading the key-encryption key %s: %w", f.file, err)
		}
	}
	if o.Encryption == nil {
		s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "the signing keys are stored in plain",
			slog.String("fix", "set token_keys.key_encryption_key_file"))
	}
	return nil
}
