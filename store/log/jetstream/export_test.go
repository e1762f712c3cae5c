package jetstream

// StartLazyServer starts a server as NATS configures it by default: it acknowledges before it
// syncs.
func StartLazyServer(o ServerOptions) (*Server, error) {
	options, err := o.server()
	if err != nil {
		return nil, err
	}
	options.SyncAlways = false
	return o.start(options)
}
