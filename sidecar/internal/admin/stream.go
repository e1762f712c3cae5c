package admin

import (
	"net/http"
	"time"
)

// streamPause is how long a client may take to read a part of a stream.
const streamPause = 2 * time.Minute

// stream is a long answer. Each write has its own deadline, because a stream may take longer than the
// server gives an answer.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool // the status is sent, so an error can only break the connection
}

func newStream(w http.ResponseWriter) *stream {
	return &stream{w: w, control: http.NewResponseController(w)}
}

// Write implements io.Writer.
func (s *stream) Write(b []byte) (int, error) {
	s.begun = true
	// A server without deadlines has none to extend.
	_ = s.control.SetWriteDeadline(time.Now().Add(streamPause))
	return s.w.Write(b)
}
