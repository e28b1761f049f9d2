// Package admin answers how an operator's program speaks with a running edge: JSON over HTTP on a unix socket. It turns requests into
// calls of control.Operator and back, on both sides: Handler and Client. It knows nothing of the proxy behind the Operator.
//
// The rules that keep it safe: no GET changes anything; a change may carry the generation it expects (compare-and-set); only
// JSON is read, at most 64 KiB of it, and no unknown field; nothing that a browser sends on behalf of another site is
// heard; the socket is the owner's alone.
package admin

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/approovia/edge/proxy/control"
)

// maxBody is the limit of a request body in bytes.
const maxBody = 64 << 10

// openAPI describes the paths below for other people's tools.
//
//go:embed openapi.json
var openAPI []byte

// Options are the handler's settings; the zero value serves a unix socket.
type Options struct {
	// Hosts are the exact values of Host, port included, that are answered on a TCP listener (DNS rebinding). On a unix socket
	// Host says nothing and is not looked at; on TCP an empty list refuses everybody.
	Hosts []string
	// Log gets one line for each attempt to change something: who, what, with what success. Nil is slog.Default().
	Log *slog.Logger
}

// Server is one server as the API shows it, with the generation to expect in a change.
type Server struct {
	Generation uint64         `json:"generation"`
	Server     control.Server `json:"server"`
}

// Config is the configuration in force.
type Config struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// problem is the body of every answer that is not a success.
type problem struct {
	Error      string `json:"error"`
	Generation uint64 `json:"generation,omitempty"` // the current one, after a failed compare-and-set
}

type api struct {
	op  control.Operator
	log *slog.Logger
}

// route is one method of one path. Segments in braces are names, decoded once.
type route struct {
	method, path string
	serve        func(*api, http.ResponseWriter, *http.Request)
}

// routes is the one list of what there is; a path or method that is not here does not exist.
var routes = []route{
	{"GET", "/v1/status", (*api).status},
	{"GET", "/v1/report", (*api).report},
	{"POST", "/v1/reload", (*api).reload},
	{"GET", "/v1/backends/{backend}/servers/{server}", (*api).server},
	{"PUT", "/v1/backends/{backend}/servers/{server}", (*api).changeServer},
	{"POST", "/v1/backends/{backend}/servers/{server}/drain", setState(control.Drain)},
	{"POST", "/v1/backends/{backend}/servers/{server}/ready", setState(control.Ready)},
	{"POST", "/v1/backends/{backend}/servers/{server}/maint", setState(control.Maint)},
	{"GET", "/v1/servers/{backend}/{server}/inflight", (*api).inflight},
	{"GET", "/v1/config", (*api).config},
	{"GET", "/v1/mesh", (*api).mesh},
	{"GET", "/v1/events", (*api).events},
	{"GET", "/v1/openapi.json", (*api).openapi},
}

// Handler answers the admin API for an operator. Serve it on what Listen returns.
func Handler(op control.Operator, opt Options) http.Handler {
	a := &api{op: op, log: opt.Log}
	if a.log == nil {
		a.log = slog.Default()
	}
	methods := map[string]map[string]http.HandlerFunc{}
	for _, r := range routes {
		if methods[r.path] == nil {
			methods[r.path] = map[string]http.HandlerFunc{}
		}
		methods[r.path][r.method] = func(w http.ResponseWriter, req *http.Request) { r.serve(a, w, req) }
	}
	mux := http.NewServeMux()
	for p, byMethod := range methods {
		mux.HandleFunc(p, func(w http.ResponseWriter, r *http.Request) {
			serve, ok := byMethod[r.Method]
			if !ok {
				var allow []string
				for m := range byMethod {
					allow = append(allow, m)
				}
				slices.Sort(allow)
				w.Header().Set("Allow", strings.Join(allow, ", "))
				refuse(w, http.StatusMethodNotAllowed, r.Method+" is not allowed here: use "+strings.Join(allow, " or "))
				return
			}
			serve(w, r)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "no such path") })
	return guard(mux, opt.Hosts)
}

// guard refuses what no honest client sends, before anything is looked up.
func guard(next http.Handler, hosts []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		onSocket := local != nil && local.Network() == "unix"
		site := r.Header.Get("Sec-Fetch-Site")
		switch {
		case !onSocket && !slices.Contains(hosts, r.Host):
			refuse(w, http.StatusMisdirectedRequest, fmt.Sprintf("host %q is not served here", r.Host))
		case len(r.Header["Origin"]) > 0, site != "" && site != "none" && site != "same-origin":
			refuse(w, http.StatusForbidden, "requests from web pages are refused")
		case r.URL.Path != path.Clean(r.URL.Path):
			refuse(w, http.StatusNotFound, "no such path") // the mux would redirect
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (a *api) status(w http.ResponseWriter, r *http.Request) {
	report, err := a.op.Report(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, report.Generation, report.Status())
}

func (a *api) report(w http.ResponseWriter, r *http.Request) {
	report, err := a.op.Report(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, report.Generation, report)
}

// reload is not undone by a client that goes away: its context ends with the process only.
func (a *api) reload(w http.ResponseWriter, r *http.Request) {
	if !read(w, r, &struct{}{}) {
		return
	}
	result, err := a.op.Reload(context.WithoutCancel(r.Context()))
	if err == nil && !result.OK {
		err = errors.New(strings.Join(result.Errors, "\n"))
		a.audit(r, err)
		writeJSON(w, http.StatusUnprocessableEntity, struct {
			Error string `json:"error"`
			control.ReloadResult
		}{"the configuration was refused, nothing has changed:\n" + err.Error(), result})
		return
	}
	a.audit(r, err, "generation", result.Generation)
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, result.Generation, result)
}

func (a *api) server(w http.ResponseWriter, r *http.Request) {
	report, err := a.op.Report(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	s, err := report.Server(r.PathValue("backend"), r.PathValue("server"))
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, report.Generation, Server{report.Generation, *s})
}

func (a *api) changeServer(w http.ResponseWriter, r *http.Request) {
	var body struct {
		control.Change
		Generation *uint64 `json:"generation"`
	}
	if !read(w, r, &body) {
		return
	}
	if body.Empty() {
		refuse(w, http.StatusBadRequest, "nothing to change: give state, weight, address or maxconn")
		return
	}
	a.change(w, r, body.Change, body.Generation)
}

func setState(s control.OperatorState) func(*api, http.ResponseWriter, *http.Request) {
	return func(a *api, w http.ResponseWriter, r *http.Request) {
		var body struct {
			Generation *uint64 `json:"generation"`
		}
		if read(w, r, &body) {
			a.change(w, r, control.Change{State: &s}, body.Generation)
		}
	}
}

func (a *api) change(w http.ResponseWriter, r *http.Request, c control.Change, inBody *uint64) {
	expect, err := expected(r, inBody)
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		fail(w, err)
		return
	}
	ctx := context.WithoutCancel(r.Context())
	backend, server := r.PathValue("backend"), r.PathValue("server")
	generation, err := a.op.ChangeServer(ctx, backend, server, c, expect)
	a.audit(r, err, "change", c.String(), "generation", generation)
	if err != nil {
		fail(w, err)
		return
	}
	report, err := a.op.Report(ctx)
	if err != nil {
		fail(w, fmt.Errorf("changed, and the generation is %d now, but: %w", generation, err))
		return
	}
	s, err := report.Server(backend, server)
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, generation, Server{generation, *s})
}

func (a *api) inflight(w http.ResponseWriter, r *http.Request) {
	n, err := a.op.Inflight(r.Context(), r.PathValue("backend"), r.PathValue("server"))
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, n)
}

func (a *api) config(w http.ResponseWriter, _ *http.Request) {
	file, text := a.op.Config()
	writeJSON(w, http.StatusOK, Config{file, string(text)})
}

func (a *api) mesh(w http.ResponseWriter, _ *http.Request) {
	m := a.op.Mesh()
	if m == nil {
		refuse(w, http.StatusNotFound, "no mesh is configured")
		return
	}
	writeJSON(w, http.StatusOK, m)
}

func (a *api) openapi(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI) // an error means that the client has gone
}

// audit keeps who tried to change what.
func (a *api) audit(r *http.Request, err error, args ...any) {
	args = append([]any{"request", r.Method + " " + r.URL.Path, "by", peerOf(r.Context())}, args...)
	if err != nil {
		a.log.Warn("admin: change refused", append(args, "error", err)...)
		return
	}
	a.log.Info("admin: changed", args...)
}

// expected is the generation that a change is bound to, from If-Match or from the body; nil if to none.
func expected(r *http.Request, inBody *uint64) (*uint64, error) {
	values := r.Header.Values("If-Match")
	if len(values) == 0 || len(values) == 1 && values[0] == "*" {
		return inBody, nil
	}
	tag := strings.TrimSpace(strings.Join(values, ","))
	n, err := strconv.ParseUint(strings.Trim(tag, `"`), 10, 64)
	if err != nil || tag != etag(n) {
		return nil, control.Invalid(`If-Match %s is not one generation in quotes, as in "7"`, tag)
	}
	if inBody != nil && *inBody != n {
		return nil, control.Invalid("If-Match says generation %d, the body %d", n, *inBody)
	}
	return &n, nil
}

func etag(generation uint64) string { return `"` + strconv.FormatUint(generation, 10) + `"` }

// read reads a JSON object into v; no body at all is an empty object. If that fails, it has answered.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	if r.ContentLength == 0 {
		return true
	}
	// Parameters of the type are not looked at, as JSON is UTF-8 always (RFC 8259 section 8.1).
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		refuse(w, http.StatusUnsupportedMediaType, "the body must be application/json")
		return false
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxBody))
		} else {
			refuse(w, http.StatusBadRequest, "read the body: "+err.Error())
		}
		return false
	}
	d := json.NewDecoder(&text)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "the body is not what was expected: "+strings.TrimPrefix(err.Error(), "json: "))
		return false
	}
	return true
}

// answer writes a value that belongs to a generation.
func answer(w http.ResponseWriter, generation uint64, v any) {
	w.Header().Set("ETag", etag(generation))
	writeJSON(w, http.StatusOK, v)
}

// statuses maps the kinds of control's errors, both ways.
var statuses = []struct {
	kind   error
	status int
}{
	{control.ErrNotFound, http.StatusNotFound},
	{control.ErrConflict, http.StatusPreconditionFailed},
	{control.ErrInvalid, http.StatusBadRequest},
	{control.ErrBusy, http.StatusConflict},
}

// fail answers an operator's error.
func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	for _, s := range statuses {
		if errors.Is(err, s.kind) {
			status = s.status
		}
	}
	p := problem{Error: err.Error()}
	var e *control.Error
	if errors.As(err, &e) && e.Generation != 0 {
		p.Generation = e.Generation
		w.Header().Set("ETag", etag(e.Generation))
	}
	writeJSON(w, status, p)
}

func refuse(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, problem{Error: text})
}

// writeJSON encodes before it answers, so that a failure is an answer still.
func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"encode the answer: `+http.StatusText(500)+`"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // an error means that the client has gone
}
