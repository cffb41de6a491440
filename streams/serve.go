package streams

import (
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// HTTPAddress makes Run serve [App.Handler] at the address, host:port. Default: none.
func HTTPAddress(address string) AppOption { return func(c *appConfig) { c.httpAddress = address } }

// HTTPToken lets only those see what [App.Handler] answers at /status who send the token (Authorization: Bearer TOKEN), and lets
// them steer the process: without a token nobody can. Probes and metrics need none. Default: none.
func HTTPToken(token string) AppOption { return func(c *appConfig) { c.httpToken = token } }

// HTTPTLS makes Run serve with TLS. Default: without. The probes of Kubernetes take any certificate.
func HTTPTLS(config *tls.Config) AppOption { return func(c *appConfig) { c.httpTLS = config } }

// Handler answers, for Kubernetes and Prometheus:
//
//   - GET /livez: 200 unless the application has failed. A restore, however long, is no reason to kill a process.
//   - GET /readyz: 200 while it runs and all its tasks are restored.
//   - GET /startupz: 200 once it has run for the first time.
//   - GET /metrics: the metrics, see docs/metrics.md.
//   - GET /status: [App.Report] as JSON, see docs/status.md.
//   - POST /pause, /resume, /drain, /undrain: as the methods of those names; a drain goes on after the answer, and /status says
//     how far it is. POST /departure/stay, /departure/leave and /departure/configured: as SetDeparture. POST
//     /members/INSTANCE/remove: as RemoveMember. These need [HTTPToken].
func (a *App) Handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(path string, ok func(now State, started bool) bool) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			now, started := a.instance.Load().State()
			if !ok(now, started) {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			fmt.Fprintln(w, now)
		})
	}
	answer("/livez", func(now State, _ bool) bool { return now != StateError && now != StatePendingError })
	answer("/readyz", func(now State, _ bool) bool { return now == StateRunning })
	answer("/startupz", func(_ State, started bool) bool { return started })
	mux.Handle("GET /metrics", a.metrics.Handler())
	mux.Handle("GET /status", a.trusted(false, a.serveReport))
	for path, do := range map[string]func(){
		"/pause": a.Pause, "/resume": a.Resume, "/drain": func() { a.instance.Load().BeginDrain() }, "/undrain": a.EndDrain,
		"/departure/stay":       func() { a.SetDeparture(DepartStay) },
		"/departure/leave":      func() { a.SetDeparture(DepartLeave) },
		"/departure/configured": func() { a.SetDeparture(DepartAsConfigured) },
	} {
		mux.Handle("POST "+path, a.asked(func(*http.Request) error { do(); return nil }))
	}
	mux.Handle("POST /members/{instance}/remove", a.asked(func(r *http.Request) error { return a.RemoveMember(r.Context(), r.PathValue("instance")) }))
	return mux
}

// asked has the process do what somebody who has the token asks for.
func (a *App) asked(do func(*http.Request) error) http.Handler {
	return a.trusted(true, func(w http.ResponseWriter, r *http.Request) {
		a.cfg.log.Info("asked over HTTP", "application", a.cfg.application, "path", r.URL.Path, "by", r.RemoteAddr)
		if err := do(r); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}

// trusted lets through who has the token. Where there is none, and one is needed, nobody has it.
func (a *App) trusted(needed bool, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case a.cfg.httpToken == "" && needed:
			http.Error(w, "the application has no token, so that nobody can steer it over HTTP; give it one: streams.HTTPToken", http.StatusForbidden)
		case a.cfg.httpToken != "" && subtle.ConstantTimeCompare([]byte(token), []byte(a.cfg.httpToken)) == 0:
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "send the application's token: Authorization: Bearer TOKEN", http.StatusUnauthorized)
		default:
			h(w, r)
		}
	})
}

func (a *App) serveReport(w http.ResponseWriter, r *http.Request) {
	text, err := json.MarshalIndent(a.Report(r.Context()), "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // it is gone otherwise
}

// serve answers at the application's address until it is stopped.
func (a *App) serve() (stop func(), err error) {
	l, err := net.Listen("tcp", a.cfg.httpAddress)
	if err != nil {
		return nil, fmt.Errorf("streams: option HTTPAddress: %w", err)
	}
	if a.cfg.httpTLS != nil {
		l = tls.NewListener(l, a.cfg.httpTLS)
	}
	log := a.cfg.log
	s := &http.Server{Handler: a.Handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the HTTP server ended", "error", err)
		}
	}()
	log.Info("serving health, status and metrics", "address", l.Addr().String())
	return func() { s.Close(); <-ended }, nil
}
