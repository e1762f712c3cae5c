package jetstream

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	js "github.com/nats-io/nats.go/jetstream"

	"github.com/scimward/scimward/store/log"
)

// A blob is chunks and then a manifest. The chunks of each PutBlob have their own subjects, so
// those of an earlier blob of the same name stay until the new manifest is there.
//
//	scim.snap.LOG.blob.NAME.manifest    manifest as JSON
//	scim.snap.LOG.blob.NAME.PUT.N       chunk N, from 0 on
const (
	chunkSize    = 512 << 10
	window       = 16               // chunks under way; many more at once make a cluster refuse them
	chunkTimeout = 15 * time.Second // the cluster syncs the whole window meanwhile
	chunkTries   = 5
	purgeTimeout = 30 * time.Second // of many messages
)

// manifest describes the chunks of a blob.
type manifest struct {
	Put    string    `json:"put"`
	Chunks int       `json:"chunks"`
	Size   int64     `json:"size"`
	Sum    []byte    `json:"sha256"`
	Stored time.Time `json:"stored,omitzero"`
}

func (m *manifest) blob(name string) log.Blob {
	b := log.Blob{Name: name, Complete: true, Size: m.Size, Stored: m.Stored}
	copy(b.Sum[:], m.Sum)
	return b
}

var blobName = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

func (l *Log) blobRoot(name string) (string, error) {
	if !blobName.MatchString(name) {
		return "", fmt.Errorf("jetstream: %q is no name of a blob: use 1 to 64 of a-z 0-9 and -", name)
	}
	return l.blobsRoot + "blob." + name + ".", nil
}

// job is one chunk under way.
type job struct {
	data []byte // of GetBlob
	err  error
}

// PutBlob implements [log.Blobs]. It needs the memory of a window of chunks, 8 MiB.
func (l *Log) PutBlob(ctx context.Context, name string, r io.Reader) (log.Blob, error) {
	root, err := l.blobRoot(name)
	if err != nil {
		return log.Blob{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := manifest{Put: rand.Text()}
	sum := sha256.New()
	err = inOrder(ctx, func() (func() job, error) {
		chunk := make([]byte, chunkSize)
		n, err := io.ReadFull(r, chunk)
		if n == 0 {
			return nil, err // io.EOF at the end
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		chunk = chunk[:n]
		sum.Write(chunk)
		subject := root + m.Put + "." + strconv.Itoa(m.Chunks)
		m.Chunks++
		m.Size += int64(n)
		return func() job { return job{err: l.putMessage(ctx, subject, chunk)} }, nil
	}, func([]byte) error { return nil })
	if err != nil {
		return log.Blob{}, fmt.Errorf("storing the blob %s: %w", name, err)
	}
	m.Sum, m.Stored = sum.Sum(nil), time.Now().UTC().Truncate(time.Second)
	b, err := json.Marshal(m)
	if err != nil {
		return log.Blob{}, fmt.Errorf("encoding the manifest of the blob %s: %w", name, err)
	}
	if err := l.putMessage(ctx, root+"manifest", b); err != nil {
		return log.Blob{}, fmt.Errorf("storing the manifest of the blob %s: %w", name, err)
	}
	return m.blob(name), l.dropOthers(ctx, root, m.Put)
}

// putMessage stores a message that may come twice, and tries again when it may be lost.
func (l *Log) putMessage(ctx context.Context, subject string, data []byte) error {
	for n := 1; ; n++ {
		_, err := l.publishWithin(ctx, chunkTimeout, message(subject, data))
		if err == nil || n == chunkTries || ctx.Err() != nil {
			return err
		}
		if err := wait(ctx, time.Duration(n)*retryAfter); err != nil {
			return err
		}
	}
}

// inOrder starts jobs until next returns io.EOF, a window at a time, and passes their data to
// done in their order.
func inOrder(ctx context.Context, next func() (func() job, error), done func([]byte) error) error {
	var under []chan job
	ended := false
	for !ended || len(under) > 0 {
		if !ended && len(under) < window {
			run, err := next()
			switch {
			case errors.Is(err, io.EOF):
				ended = true
			case err != nil:
				return err
			default:
				c := make(chan job, 1)
				go func() { c <- run() }()
				under = append(under, c)
			}
			continue
		}
		select {
		case j := <-under[0]:
			if j.err == nil {
				j.err = done(j.data)
			}
			if j.err != nil {
				return j.err
			}
			under = under[1:]
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// manifest reads the manifest of a blob from the leader.
func (l *Log) manifest(ctx context.Context, k *link, name, root string) (*manifest, error) {
	b, err := k.stored(ctx, l.blobs, map[string]any{"last_by_subj": root + "manifest"})
	if errors.Is(err, errNotStored) {
		return nil, fmt.Errorf("%w: %s", log.ErrNoBlob, name)
	}
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("reading the manifest of the blob %s: %w", name, err)
	}
	return &m, nil
}

// GetBlob implements [log.Blobs]. Any server answers; the leader when that one is behind.
func (l *Log) GetBlob(ctx context.Context, name string, w io.Writer) (log.Blob, error) {
	root, err := l.blobRoot(name)
	if err != nil {
		return log.Blob{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k, err := l.link(ctx)
	if err != nil {
		return log.Blob{}, err
	}
	m, err := l.manifest(ctx, k, name, root)
	if err != nil {
		return log.Blob{}, err
	}
	sum, size, n := sha256.New(), int64(0), 0
	err = inOrder(ctx, func() (func() job, error) {
		if n == m.Chunks {
			return nil, io.EOF
		}
		subject := root + m.Put + "." + strconv.Itoa(n)
		n++
		return func() job {
			data, err := l.chunk(ctx, subject)
			return job{data: data, err: err}
		}, nil
	}, func(data []byte) error {
		sum.Write(data)
		size += int64(len(data))
		_, err := w.Write(data)
		return err
	})
	if err == nil && (size != m.Size || !bytes.Equal(sum.Sum(nil), m.Sum)) {
		err = fmt.Errorf("%w: its content is not that of its manifest", ErrDamaged)
	}
	if err != nil {
		return log.Blob{}, fmt.Errorf("reading the blob %s: %w", name, err)
	}
	return m.blob(name), nil
}

// chunk reads one chunk.
func (l *Log) chunk(ctx context.Context, subject string) ([]byte, error) {
	var fault error
	for n := range chunkTries {
		if n > 0 {
			if err := wait(ctx, time.Duration(n)*retryAfter); err != nil {
				return nil, err
			}
		}
		k, err := l.link(ctx)
		if err != nil {
			fault = err
			continue
		}
		data, err := k.direct(ctx, l.blobs, subject)
		if errors.Is(err, errNotStored) {
			data, err = k.stored(ctx, l.blobs, map[string]any{"last_by_subj": subject})
		}
		if err == nil {
			return data, nil
		}
		if errors.Is(err, errNotStored) {
			return nil, fmt.Errorf("%w: a chunk of it is missing; was it replaced meanwhile?", ErrDamaged)
		}
		k.unanswered(ctx, err)
		fault = err
	}
	return nil, fault
}

// direct asks any server for the newest message of a subject.
func (k *link) direct(ctx context.Context, stream, subject string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	m, err := k.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+stream+"."+subject, nil)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", subject, err)
	}
	switch status := m.Header.Get("Status"); status {
	case "":
		k.answered()
		return m.Data, nil
	case "404":
		return nil, errNotStored
	default:
		return nil, fmt.Errorf("reading %s: %s %s", subject, status, m.Header.Get("Description"))
	}
}

// ListBlobs implements [log.Blobs].
func (l *Log) ListBlobs(ctx context.Context) ([]log.Blob, error) {
	k, err := l.link(ctx)
	if err != nil {
		return nil, err
	}
	subjects, err := l.subjects(ctx, k, l.blobsRoot+"blob.>")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range subjects {
		name, _, _ := strings.Cut(strings.TrimPrefix(s, l.blobsRoot+"blob."), ".")
		names = append(names, name)
	}
	slices.Sort(names)
	var out []log.Blob
	for _, name := range slices.Compact(names) {
		root, err := l.blobRoot(name)
		if err != nil {
			return nil, err
		}
		m, err := l.manifest(ctx, k, name, root)
		switch {
		case errors.Is(err, log.ErrNoBlob):
			out = append(out, log.Blob{Name: name})
		case err != nil:
			return nil, err
		default:
			out = append(out, m.blob(name))
		}
	}
	return out, nil
}

// subjects lists the subjects below a filter that have a message.
func (l *Log) subjects(ctx context.Context, k *link, filter string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	stream, err := k.js.Stream(ctx, l.blobs)
	if err != nil {
		return nil, fmt.Errorf("asking for the stream %s: %w", l.blobs, err)
	}
	info, err := stream.Info(ctx, js.WithSubjectFilter(filter))
	if err != nil {
		return nil, fmt.Errorf("asking for the stream %s: %w", l.blobs, err)
	}
	out := make([]string, 0, len(info.State.Subjects))
	for s := range info.State.Subjects {
		out = append(out, s)
	}
	return out, nil
}

// dropOthers deletes the chunks of earlier PutBlobs.
func (l *Log) dropOthers(ctx context.Context, root, put string) error {
	k, err := l.link(ctx)
	if err != nil {
		return err
	}
	subjects, err := l.subjects(ctx, k, root+"*.0")
	if err != nil {
		return err
	}
	for _, s := range subjects {
		if p := strings.TrimSuffix(strings.TrimPrefix(s, root), ".0"); p != put {
			if err := l.purge(ctx, k, root+p+".*"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Log) purge(ctx context.Context, k *link, filter string) error {
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	stream, err := k.js.Stream(ctx, l.blobs)
	if err == nil {
		err = stream.Purge(ctx, js.WithPurgeSubject(filter))
	}
	if err != nil {
		return fmt.Errorf("deleting %s: %w", filter, err)
	}
	return nil
}

// DeleteBlob implements [log.Blobs].
func (l *Log) DeleteBlob(ctx context.Context, name string) error {
	root, err := l.blobRoot(name)
	if err != nil {
		return err
	}
	k, err := l.link(ctx)
	if err != nil {
		return err
	}
	return l.purge(ctx, k, root+">")
}
