package jetstream

import (
	"context"
	"fmt"
	"log/slog"
)

// serverLog writes what the NATS server says to the logger of scimward.
type serverLog struct{ logger *slog.Logger }

func (l serverLog) log(level slog.Level, format string, v []any) {
	l.logger.LogAttrs(context.Background(), level, "log server", slog.String("text", fmt.Sprintf(format, v...)))
}

func (l serverLog) Noticef(format string, v ...any) { l.log(slog.LevelDebug, format, v) }
func (l serverLog) Warnf(format string, v ...any)   { l.log(slog.LevelWarn, format, v) }
func (l serverLog) Errorf(format string, v ...any)  { l.log(slog.LevelError, format, v) }
func (l serverLog) Fatalf(format string, v ...any)  { l.log(slog.LevelError, format, v) }
func (l serverLog) Debugf(format string, v ...any)  { l.log(slog.LevelDebug, format, v) }
func (l serverLog) Tracef(format string, v ...any)  { l.log(slog.LevelDebug, format, v) }
