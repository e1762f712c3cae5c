package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/policies/bundle"
)

// bundleInfo describes a bundle.
type bundleInfo struct {
	Revision string `json:"revision"`
	Serial   uint64 `json:"serial"`
	SHA256   string `json:"sha256"` // of the archive: a signature changes it
	Signed   bool   `json:"signed"`
}

func infoOf(b *bundle.Bundle) bundleInfo { return bundleInfo{b.Revision, b.Serial, b.SHA256, b.Signed} }

func (i bundleInfo) text(file string) string {
	signed := "not signed"
	if i.Signed {
		signed = "signed"
	}
	return fmt.Sprintf("%s: revision %s, serial %d, %s, sha256 of the archive %s\n",
		file, i.Revision, i.Serial, signed, i.SHA256)
}

func newPolicyBuild() *cobra.Command {
	c := &cobra.Command{
		Use:   "build DIR -o FILE",
		Short: "pack a policy bundle",
		Long: `Compiles the rules of DIR, runs their tests, and writes the bundle as a tar.gz. Equal files give equal
bytes, and so an equal sha256. The signature is one of the files: to sign changes the sha256, and to sign
again does so too. It leaves out Markdown and hidden files.`,
		Example: `  scimward policy build acme-policy -o acme.tar.gz`,
		Args:    oneArg("DIR"),
	}
	out := c.Flags().StringP("output", "o", "", "`FILE` to write (required)")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if *out == "" {
			return usage(errors.New("-o is missing: name the file to write"))
		}
		raw, err := readBundle(args[0])
		if err != nil {
			return problemsError(err)
		}
		b, err := bundle.ReadUnverified(raw)
		if err == nil {
			_, err = bundle.Limited(c.Context(), bundle.CompileTime, b.Compile)
		}
		if err != nil {
			return refusedBundle(c, *asJSON, err)
		}
		if err := replace(*out, raw); err != nil {
			return err
		}
		return result(c, *asJSON, infoOf(b), infoOf(b).text(*out))
	}
	return c
}

func newPolicySign() *cobra.Command {
	c := &cobra.Command{
		Use:   "sign BUNDLE --key FILE --key-id ID",
		Short: "sign a policy bundle",
		Long: `BUNDLE is a tar.gz, which gets the signature in place of an old one, or a folder, which gets a file
.signatures.json. Sign the folder again after each change. The private key stays with you; scimward gets
the public key, under tenants[].policy.keys with the same id. Make both with openssl:

  openssl ecparam -name prime256v1 -genkey -noout -out key.pem
  openssl ec -in key.pem -pubout -out key.pub.pem`,
		Example: `  scimward policy sign acme.tar.gz --key key.pem --key-id security`,
		Args:    oneArg("BUNDLE"),
	}
	key := c.Flags().String("key", "", "`FILE` with the private key, PEM (required)")
	id := c.Flags().String("key-id", "", "`ID` of the key in the configuration of scimward (required)")
	algorithm := c.Flags().String("algorithm", "ES256", "`NAME`, one of "+strings.Join(bundle.Algorithms(), ", "))
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if *key == "" || *id == "" {
			return usage(errors.New("--key and --key-id are required"))
		}
		if !slices.Contains(bundle.Algorithms(), *algorithm) {
			return usage(fmt.Errorf("--algorithm: %q is none of %s", *algorithm, strings.Join(bundle.Algorithms(), ", ")))
		}
		private, err := readLimited(*key, c.InOrStdin())
		if err != nil {
			return fmt.Errorf("reading the private key: %w", err)
		}
		b, err := sign(args[0], *id, *algorithm, string(private))
		if err != nil {
			return hinted(problemsError(err), "`scimward policy sign --help` shows how to make a key for ES256")
		}
		return result(c, *asJSON, infoOf(b), infoOf(b).text(args[0]))
	}
	return c
}

// sign signs a file or a folder, and returns the signed bundle.
func sign(name, id, algorithm, private string) (*bundle.Bundle, error) {
	raw, err := readBundle(name)
	if err != nil {
		return nil, err
	}
	if _, err := bundle.ReadUnverified(raw); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	signed, err := bundle.Sign(raw, id, algorithm, private)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", name, err)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if !info.IsDir() {
		if err := replace(name, signed); err != nil {
			return nil, err
		}
		return bundle.ReadUnverified(signed)
	}
	signature, err := bundle.Signature(raw, id, algorithm, private)
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", name, err)
	}
	if err := replace(filepath.Join(name, ".signatures.json"), signature); err != nil {
		return nil, err
	}
	return bundle.ReadUnverified(signed)
}

// replace writes a file so that it has the old or the new content. A server may read it meanwhile.
func replace(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".scimward-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", name, err), os.Remove(f.Name()))
	}
	return nil
}
