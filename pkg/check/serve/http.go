package serve

import (
	"cmp"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/check"
)

// NewHTTP is a server of the paths that users of Patroni know. Whoever connects has
// seconds to say what he wants, and is not trusted. OPTIONS * is ours to answer: net/http
// alone says 200 to it, of any host.
func (s *Server) NewHTTP() *http.Server {
	return &http.Server{Handler: s, DisableGeneralOptionsHandler: true, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
		ErrorLog: log.New(io.Discard, "", 0)} // what strangers send is no news
}

// ServeHTTP answers from what is known.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
	default:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		wrong(w, http.StatusMethodNotAllowed, "want GET, HEAD or OPTIONS")
		return
	}
	name, words := s.split(r.URL.Path)
	switch {
	case len(words) == 0 && r.Method != http.MethodGet:
		// HAProxy's "option httpchk" alone asks OPTIONS /, and means what Patroni means by it.
		s.ask(w, r, name, string(check.AskPrimary))
	case len(words) == 0 && name == "":
		all := []check.Said{}
		for _, st := range s.States() {
			all = append(all, check.Say(st))
		}
		answer(w, http.StatusOK, all)
	case len(words) == 0:
		answer(w, http.StatusOK, check.Say(s.State(name, check.Limit{})))
	case len(words) == 2 && name == "":
		wrong(w, http.StatusNotFound, "no such host; / lists those of the inventory")
	case len(words) > 1:
		wrong(w, http.StatusNotFound, "want /HOST/QUESTION")
	case words[0] == "metrics" && name == "":
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write([]byte(s.Metrics()))
	default:
		s.ask(w, r, name, words[0])
	}
}

// split is the host that a path begins with, empty when it names none, and the words that
// follow. The host may be BACKEND/SERVER.
func (s *Server) split(path string) (name string, words []string) {
	if path == "*" { // of OPTIONS *
		return "", nil
	}
	words = strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
	if len(words) > 0 && (len(words) > 1 || !known(words[0])) {
		if m := s.member(words[0]); m != "" {
			return m, words[1:]
		}
	}
	if len(words) > 1 {
		if m := s.member(words[0] + "/" + words[1]); m != "" {
			return m, words[2:]
		}
	}
	return "", words
}

func known(word string) bool {
	_, ok := check.ParseQuestion(word)
	return ok || word == "metrics"
}

func (s *Server) ask(w http.ResponseWriter, r *http.Request, name, word string) {
	q, ok := check.ParseQuestion(word)
	if !ok {
		wrong(w, http.StatusNotFound, "no such path; there are /primary /replica /read-only /synchronous /read-only-sync /quorum /read-only-quorum /asynchronous /health /liveness /readiness and /metrics")
		return
	}
	if name == "" {
		name = s.meant(r.Host)
	}
	alive, ready := s.alive()
	if q == check.AskLiveness || q == check.AskReadiness && name == "" {
		ok := alive
		if q == check.AskReadiness {
			ok = alive && ready
		}
		answer(w, code(ok), map[string]any{"question": q, "ok": ok})
		return
	}
	if name == "" {
		wrong(w, http.StatusNotFound, "of which host? ask for /HOST/"+word+", or name it in the header Host")
		return
	}
	var limit check.Limit
	for _, text := range r.URL.Query()["lag"] {
		l, err := check.ParseLag(text)
		if err != nil {
			wrong(w, http.StatusBadRequest, err.Error())
			return
		}
		limit.Bytes, limit.Time = max(limit.Bytes, l.Bytes), max(limit.Time, l.Time)
	}
	if !q.Limited() {
		limit = check.Limit{}
	}
	st := s.State(name, limit)
	said, yes := check.Say(st), q.Answer(st)
	said.Question, said.OK = q, &yes
	answer(w, code(yes), said)
}

// member is the name in the inventory of a host, which may be called by its name at
// the load balancers, with its backend or without. Empty when that is nobody's, or that of
// two: servers of two backends may share a name.
func (s *Server) member(word string) string {
	if word == "" {
		return ""
	}
	all := s.board.Members()
	only := func(called func(check.Member) string) string {
		name := ""
		for _, m := range all {
			switch {
			case called(m) != word:
			case name != "":
				return ""
			default:
				name = m.Name
			}
		}
		return name
	}
	return cmp.Or(only(func(m check.Member) string { return m.Name }), only(func(m check.Member) string { return m.Balanced }), only(func(m check.Member) string { return m.Server }))
}

// meant is the host that a header Host names; where only one is served, that one.
func (s *Server) meant(header string) string {
	if h, _, err := net.SplitHostPort(header); err == nil {
		header = h
	}
	if m := s.member(header); m != "" {
		return m
	}
	if all := s.board.Members(); len(all) == 1 {
		return all[0].Name
	}
	return ""
}

func code(yes bool) int {
	if yes {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // a number that is none
		status, b = http.StatusInternalServerError, []byte(`{"error":"no answer can be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

func wrong(w http.ResponseWriter, status int, text string) {
	answer(w, status, map[string]string{"error": text})
}
