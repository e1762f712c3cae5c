package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"path"
)

// Archive packs a directory: the same files always give the same bytes. It leaves out Markdown and hidden files other
// than .manifest and .signatures.json. Errors are *Error.
func Archive(dir fs.FS) ([]byte, error) {
	var p packer
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case d.IsDir() && base != "." && base[0] == '.':
			return fs.SkipDir
		case d.IsDir() || path.Ext(base) == ".md" || base[0] == '.' && base != ".manifest" && base != signatures:
			return nil
		}
		content, err := readPlain(dir, name)
		if err != nil {
			return err
		}
		return p.add(name, content)
	})
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return nil, refused
	case err != nil:
		return nil, &Error{"archive", err}
	}
	return p.bytes()
}

// readPlain reads a file, or what a link leads to: the files of a Kubernetes volume are links. Neither a device nor a
// pipe is read, which may have no end.
func readPlain(dir fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(dir, name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, refuse("archive", "%q is no plain file", name)
	}
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	// packer.add refuses a file of more bytes.
	return io.ReadAll(io.LimitReader(f, MaxUnpacked+1))
}

// packer writes an archive. Equal files give equal bytes.
type packer struct {
	buf   bytes.Buffer
	zip   *gzip.Writer
	files *tar.Writer
	total int
}

func (p *packer) add(name string, content []byte) error {
	if p.files == nil {
		p.zip = gzip.NewWriter(&p.buf)
		p.files = tar.NewWriter(p.zip)
	}
	if p.total += len(content); p.total > MaxUnpacked {
		return refuse("size", "the files have more than %d bytes", MaxUnpacked)
	}
	h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}
	if err := p.files.WriteHeader(h); err != nil {
		return err
	}
	_, err := p.files.Write(content)
	return err
}

func (p *packer) bytes() ([]byte, error) {
	if p.files == nil {
		return nil, refuse("archive", "there are no files")
	}
	if err := errors.Join(p.files.Close(), p.zip.Close()); err != nil {
		return nil, &Error{"archive", err}
	}
	return p.buf.Bytes(), nil
}
