package serve

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pgrepctl/pgrepctl/pkg/check"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a host that answers what it is told to, or not at all.
type fake struct {
	name string
	mu   sync.Mutex
	do   func(ctx context.Context) (facts.Server, error)
	n    int
	// keptOut: its health file is there; fileErr: it cannot be read.
	keptOut bool
	fileErr error
	// hang: its files give no answer; ended counts the questions that were given up.
	hang  bool
	ended int
}

func (f *fake) Name() string { return f.name }

func (f *fake) Look(ctx context.Context) check.Observation {
	f.mu.Lock()
	do := f.do
	f.n++
	f.mu.Unlock()
	at := time.Now()
	s, err := do(ctx)
	return check.Observe(f.name, at, s, err)
}

func (f *fake) Plans(ctx context.Context, _ facts.Server, _ []check.Member) (map[string]check.Plan, error) {
	return nil, f.files(ctx)
}
func (f *fake) KeptOut(ctx context.Context, _ check.Member) (bool, error) {
	if err := f.files(ctx); err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keptOut, f.fileErr
}

// files is an error when they give no answer.
func (f *fake) files(ctx context.Context) error {
	f.mu.Lock()
	hang := f.hang
	f.mu.Unlock()
	if !hang {
		return nil
	}
	<-ctx.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended++
	return context.Cause(ctx)
}
func (f *fake) Close(context.Context) {}

func (f *fake) set(do func(ctx context.Context) (facts.Server, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.do = do
}

func runs(s facts.Server) func(context.Context) (facts.Server, error) {
	return func(context.Context) (facts.Server, error) { return s, nil }
}

// dead is a host that swallows what is sent to it.
func dead(ctx context.Context) (facts.Server, error) {
	<-ctx.Done()
	return facts.Server{}, context.Cause(ctx)
}

func primary() facts.Server {
	return facts.Server{Running: true, SystemID: "7", Timeline: 1, LSN: 1000, Senders: []facts.Sender{{Application: "pg2", SyncState: "sync"}}}
}

func standby(replay postgres.LSN) facts.Server {
	return facts.Server{Running: true, InRecovery: true, SystemID: "7", Timeline: 1, Replay: facts.Replay{ReceiverStatus: "streaming", Receive: &replay, Replay: &replay}}
}

type memory struct {
	mu   sync.Mutex
	last check.Memory
}

func (m *memory) Write(x check.Memory) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = x
	return nil
}

// serving runs a server of pg1 (primary), pg2 (standby) and pg3, until the test ends.
func serving(t *testing.T, third func(context.Context) (facts.Server, error)) (*Server, map[string]*fake) {
	t.Helper()
	hosts := map[string]*fake{"pg1": {name: "pg1", do: runs(primary())}, "pg2": {name: "pg2", do: runs(standby(1000))}, "pg3": {name: "pg3", do: third}}
	members := []check.Member{{Name: "pg1", Role: inventory.Primary, Server: "pg1"}, {Name: "pg2", Role: inventory.Standby, Server: "read-2", Upstream: "pg1"}, {Name: "pg3", Role: inventory.Standby, Server: "pg3", Upstream: "pg1"}}
	p := check.Policy{MaxBytes: 100, MinBytes: 10, Grace: time.Second}
	o := Options{Cluster: "shop", Interval: 5 * time.Millisecond, Timeout: 10 * time.Second, Stale: 200, Memory: &memory{}, Now: time.Now, Say: func(time.Time, string, string) {}}
	for _, n := range []string{"pg1", "pg2", "pg3"} {
		o.Lookers = append(o.Lookers, hosts[n])
	}
	s := New(check.NewBoard(members, p, check.NewMemory("shop")), p, o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		m := o.Memory.(*memory)
		if len(m.last.Hosts) < 2 {
			t.Errorf("remembered at the end: %+v", m.last)
		}
	})
	await(t, "first looks", func() bool {
		// That it is synchronous is known by a look at pg1 before it.
		return !s.State("pg1", check.Limit{}).Seen.IsZero() && s.State("pg2", check.Limit{}).Sync == "sync"
	})
	return s, hosts
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not within ten seconds: %s", what)
}

func ask(s *Server, method, target, host string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestHTTPAnswersOnThePathsOfPatroni(t *testing.T) {
	s, _ := serving(t, func(context.Context) (facts.Server, error) {
		return facts.Server{}, fmt.Errorf("pg3: connect: key /home/anna/.ssh/id refused at 10.0.0.13")
	})
	await(t, "every host had its turn", func() bool { _, ready := s.alive(); return ready })
	for _, c := range []struct {
		path, host string
		code       int
	}{
		{"/pg1/primary", "", 200}, {"/pg1/master", "", 200}, {"/pg1/replica", "", 503}, {"/pg1/read-only", "", 200}, {"/pg1/health", "", 200},
		{"/pg2/primary", "", 503}, {"/pg2/replica", "", 200}, {"/pg2/read-only", "", 200}, {"/pg2/synchronous", "", 200}, {"/pg2/asynchronous", "", 503}, {"/pg2/readiness", "", 200},
		{"/pg2/replica?lag=16MB", "", 200}, {"/pg2/replica?lag=10s", "", 200}, {"/pg2/replica?lag=rubbish", "", 400}, {"/read-2/replica", "", 200},
		{"/replica", "pg2", 200}, {"/replica", "read-2:8008", 200}, {"/replica", "pg1", 503}, {"/replica", "", 404}, {"/replica", "127.0.0.1:8008", 404},
		{"/pg2/quorum", "", 503}, {"/pg2/read-only-quorum", "", 503}, {"/pg2/read-only-sync", "", 200}, {"/pg1/read-only-sync", "", 200}, {"/read-only-quorum", "pg1", 200},
		{"/pg3/replica", "", 503}, {"/pg3/health", "", 503}, {"/pg9/replica", "", 404}, {"/pg2/config", "", 404}, {"/pg2/replica/more", "", 404}, {"/patroni", "", 404},
		{"/liveness", "", 200}, {"/pg3/liveness", "", 200}, {"/readiness", "", 200}, {"/metrics", "", 200}, {"//pg2//replica/", "", 200},
	} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
			w := ask(s, method, c.path, c.host)
			if w.Code != c.code {
				t.Errorf("%s %s of %q: %d, want %d: %s", method, c.path, c.host, w.Code, c.code, w.Body)
			}
			if c.path != "/metrics" && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s %s: %s", method, c.path, w.Body)
			}
			if text := w.Body.String(); strings.Contains(text, "anna") || strings.Contains(text, "10.0.0.13") {
				t.Errorf("%s tells what is ours: %s", c.path, text)
			}
		}
	}
	if w := ask(s, "POST", "/pg2/replica", ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
		t.Errorf("POST: %d", w.Code)
	}
	var said check.Said
	if err := json.Unmarshal(ask(s, "GET", "/pg2/replica", "").Body.Bytes(), &said); err != nil || said.Host != "pg2" || said.OK == nil || !*said.OK || said.Reason != check.OK || said.Sync != "sync" {
		t.Errorf("%+v, %v", said, err)
	}
}

// TestWithoutAQuestionABalancerAsksForThePrimary: OPTIONS / is what HAProxy's "option httpchk"
// sends when nobody tells it more. A person reads what is known by GET.
func TestWithoutAQuestionABalancerAsksForThePrimary(t *testing.T) {
	s, hosts := serving(t, func(context.Context) (facts.Server, error) { return facts.Server{}, io.ErrUnexpectedEOF })
	await(t, "every host had its turn", func() bool { _, ready := s.alive(); return ready })
	for _, c := range []struct {
		path, host string
		code       int // of HEAD and OPTIONS
	}{
		{"/pg1", "", 200}, {"/pg2", "", 503}, {"/read-2", "", 503}, {"/pg3", "", 503}, {"/pg2?lag=1GB", "", 503}, {"/pg1/", "", 200}, {"/pg1", "pg2", 200}, {"/pg2", "pg1", 503},
		{"/", "pg1", 200}, {"/", "pg1:8008", 200}, {"/", "pg2", 503}, {"/", "read-2:8008", 503}, {"/", "pg3", 503}, {"/", "", 404}, {"/", "127.0.0.1:8008", 404}, {"//", "", 404},
	} {
		for method, want := range map[string]int{"GET": 200, "HEAD": c.code, "OPTIONS": c.code} {
			if w := ask(s, method, c.path, c.host); w.Code != want {
				t.Errorf("%s %s of %q: %d, want %d: %s", method, c.path, c.host, w.Code, want, w.Body)
			}
		}
	}
	promoted := primary()
	promoted.Timeline = 2
	hosts["pg2"].set(runs(promoted))
	await(t, "it is asked for of the one that was promoted", func() bool {
		return ask(s, "OPTIONS", "/", "pg2").Code == 200 && ask(s, "OPTIONS", "/", "pg1").Code == 503
	})
}

func TestADeadHostDelaysNeitherAnswersNorOtherHosts(t *testing.T) {
	s, hosts := serving(t, dead)
	hosts["pg2"].mu.Lock()
	was := hosts["pg2"].n
	hosts["pg2"].mu.Unlock()
	await(t, "pg2 is looked at twenty times meanwhile", func() bool {
		hosts["pg2"].mu.Lock()
		defer hosts["pg2"].mu.Unlock()
		return hosts["pg2"].n > was+20
	})
	thaw := make(chan struct{})
	frozen := func(ctx context.Context) (facts.Server, error) {
		select {
		case <-thaw:
			return facts.Server{}, io.ErrUnexpectedEOF
		case <-ctx.Done():
			return dead(ctx)
		}
	}
	hosts["pg1"].set(frozen)
	hosts["pg2"].set(frozen)
	for range 200 {
		began := time.Now()
		if w := ask(s, "GET", "/pg3/replica", ""); w.Code != 503 {
			t.Fatalf("%d", w.Code)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Fatalf("an answer took %s, as if it waited for a host", took)
		}
	}
	await(t, "a host that gives no answer any more is out", func() bool { return ask(s, "GET", "/pg2/replica", "").Code == 503 })
	if st := s.State("pg2", check.Limit{}); st.Reason != check.Stale && st.Reason != check.Unreachable || strings.Contains(st.Why, "within") {
		t.Errorf("%+v", st)
	}
	await(t, "and the primary", func() bool { return ask(s, "GET", "/pg1/primary", "").Code == 503 })
	hosts["pg2"].set(runs(standby(1000)))
	close(thaw)
	await(t, "it is in again", func() bool { return ask(s, "GET", "/pg2/replica", "").Code == 200 })
}

func TestALateStandbyGoesOutAndALimitOfOnesOwnCounts(t *testing.T) {
	s, hosts := serving(t, runs(standby(1000)))
	if ask(s, "GET", "/pg2/replica?lag=5", "").Code != 200 {
		t.Error("it is not late")
	}
	hosts["pg2"].set(runs(standby(950))) // 50 of 100 bytes
	await(t, "out under a limit of 5 bytes", func() bool { return ask(s, "GET", "/pg2/replica?lag=5", "").Code == 503 })
	if ask(s, "GET", "/pg2/replica", "").Code != 200 {
		t.Error("out below the maximum")
	}
	hosts["pg2"].set(runs(standby(800)))
	await(t, "out above the maximum", func() bool { return ask(s, "GET", "/pg2/replica", "").Code == 503 })
	if text := s.Metrics(); !strings.Contains(text, `pgrepctl_in{cluster="shop",host="pg2"} 0`) {
		t.Error(text)
	}
}

func TestTheAgentAnswersOneLine(t *testing.T) {
	s, _ := serving(t, runs(standby(1000)))
	// serving does not wait for pg3, which other tests have dead.
	await(t, "first look at pg3", func() bool { return !s.State("pg3", check.Limit{}).Seen.IsZero() })
	talk := func(fixed, send string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.ServeAgent(ctx, l, fixed) }()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, send); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil && err != io.EOF {
			t.Errorf("%q: %v", send, err)
		}
		return line
	}
	for _, c := range []struct{ fixed, send, want string }{
		{"", "pg2\n", "up 100%\n"}, {"", "reads/pg2\n", "up 100%\n"}, {"", "read-2\n", "up 100%\n"}, {"", "pg1\n", "down #takes writes, and reads are asked for\n"},
		{"", "pg1 primary\n", "up 100%\n"}, {"", "pg2 primary\n", "down #takes no writes\n"},
		{"", "pg9\n", "fail #no such host in the inventory\n"}, {"", "pg2 nonsense\n", "fail #no such question\n"}, {"", "\n", "fail #want agent-send \"HOST\\n\"\n"},
		{"", strings.Repeat("x", 4*agentLine) + "\n", "fail #no such host in the inventory\n"},
		{"pg2", "", "up 100%\n"}, {"pg3", "pg2\n", "up 100%\n"},
	} {
		if got := talk(c.fixed, c.send); got != c.want {
			t.Errorf("%q to the agent of %q: %q, want %q", c.send, c.fixed, got, c.want)
		}
	}
}

func TestARestartTakesNobodyOut(t *testing.T) {
	members := []check.Member{{Name: "pg1", Role: inventory.Primary, Server: "pg1"}, {Name: "pg2", Role: inventory.Standby, Server: "pg2", Upstream: "pg1"}}
	p := check.Policy{MaxBytes: 100, MinBytes: 10, Grace: time.Second}
	then := time.Now().Add(-20 * time.Second)
	board := check.NewBoard(members, p, check.NewMemory("shop"))
	board.Take(check.Observe("pg1", then, primary(), nil), check.Observe("pg2", then, standby(1000), nil))
	now := time.Now()
	o := Options{Interval: time.Second, Timeout: 5 * time.Second, Stale: 3, Now: func() time.Time { return now }, Say: func(time.Time, string, string) {}}
	s := New(check.NewBoard(members, p, board.Memory()), p, o)
	if w := ask(s, "GET", "/pg2/replica", ""); w.Code != 200 {
		t.Errorf("before the first look: %s", w.Body)
	}
	now = now.Add(6 * time.Second)
	if w := ask(s, "GET", "/pg2/replica", ""); w.Code != 503 {
		t.Errorf("the first look does not end: %s", w.Body)
	}
	// What was said an hour ago is no bridge.
	now = now.Add(time.Hour)
	s = New(check.NewBoard(members, p, board.Memory()), p, o)
	if w := ask(s, "GET", "/pg2/replica", ""); w.Code != 503 {
		t.Errorf("an hour later: %s", w.Body)
	}
}

// TestAHealthFileIsLookedAt with the host, and one that cannot be looked for is as it was.
func TestAHealthFileIsLookedAt(t *testing.T) {
	s, hosts := serving(t, runs(standby(1000)))
	file := func(there bool, err error) {
		hosts["pg2"].mu.Lock()
		defer hosts["pg2"].mu.Unlock()
		hosts["pg2"].keptOut, hosts["pg2"].fileErr = there, err
	}
	drained := func() bool { return s.State("pg2", check.Limit{}).Reason == check.Drained }
	file(true, nil)
	await(t, "out by the file", drained)
	file(false, fmt.Errorf("look for /run/drained: permission denied"))
	seen := s.State("pg2", check.Limit{}).Seen
	await(t, "another look", func() bool { return s.State("pg2", check.Limit{}).Seen.After(seen.Add(20 * time.Millisecond)) })
	if !drained() {
		t.Error("it is in, though its file cannot be looked for")
	}
	file(false, nil)
	await(t, "in again", func() bool { return s.State("pg2", check.Limit{}).In })
}

// TestAHealthFileNobodyCanLookForAtTheStart is asked for again at the next look.
func TestAHealthFileNobodyCanLookForAtTheStart(t *testing.T) {
	h := &fake{name: "pg2", do: runs(standby(1000)), fileErr: fmt.Errorf("look for /run/drained: permission denied")}
	var mu sync.Mutex
	var log []string
	p := check.Policy{MaxBytes: 100, MinBytes: 10, HoldDown: time.Hour}
	o := Options{Interval: 5 * time.Millisecond, Timeout: 10 * time.Second, Stale: 200, Lookers: []Looker{h}, Now: time.Now, Say: func(_ time.Time, _, text string) {
		mu.Lock()
		defer mu.Unlock()
		log = append(log, text)
	}}
	s := New(check.NewBoard([]check.Member{{Name: "pg2", Role: inventory.Standby, Server: "pg2"}}, p, check.NewMemory("shop")), p, o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	await(t, "out, for nobody knows", func() bool { return s.State("pg2", check.Limit{}).Reason == check.FilesUnknown })
	h.mu.Lock()
	h.fileErr = nil
	h.mu.Unlock()
	await(t, "in as soon as it is known", func() bool { return s.State("pg2", check.Limit{}).In })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if all := strings.Join(log, "\n"); !strings.Contains(all, "health file: look for /run/drained: permission denied") || !strings.Contains(all, "health file: it works") {
		t.Error(all)
	}
}

// TestOptionsOfTheServerAskForThePrimary: OPTIONS * has no path, and net/http alone says 200.
func TestOptionsOfTheServerAskForThePrimary(t *testing.T) {
	s, _ := serving(t, runs(standby(1000)))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := s.NewHTTP()
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(l) }()
	defer func() {
		_ = h.Close()
		<-ended
	}()
	for host, want := range map[string]int{"pg1": 200, "pg2": 503, "pg9": 404} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "OPTIONS * HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		_ = c.Close()
		if r.StatusCode != want {
			t.Errorf("OPTIONS * of %s: %d, want %d", host, r.StatusCode, want)
		}
	}
}

// TestAHostIsCalledByItsServerAtTheBalancer, with its backend or without, if one host alone is
// called so.
func TestAHostIsCalledByItsServerAtTheBalancer(t *testing.T) {
	var members []check.Member
	for name, traffic := range map[string]string{"pg2": "reads/db-2", "pg3": "eu/db", "pg4": "us/db", "pg5": ""} {
		members = append(members, check.Members(&inventory.Cluster{Hosts: []*inventory.Host{{Name: name, Role: inventory.Standby, Traffic: traffic}}})...)
	}
	o := Options{Interval: time.Second, Timeout: time.Second, Stale: 3, Now: time.Now, Say: func(time.Time, string, string) {}}
	s := New(check.NewBoard(members, check.Policy{}, check.NewMemory("shop")), check.Policy{}, o)
	for word, want := range map[string]string{
		"db-2": "pg2", "reads/db-2": "pg2", "other/db-2": "pg2", "pg2": "pg2", "eu/db": "pg3", "us/db": "pg4", "pg4": "pg4", "pg5": "pg5", "reads/pg5": "pg5",
		"db": "", "other/db": "", "pg9": "", "reads/pg9": "", "reads/": "",
	} {
		line, known := s.Agent(word+"\n"), "fail #no such host in the inventory\n"
		if (line == known) != (want == "") {
			t.Errorf("the agent of %q: %q", word, line)
		}
		if strings.HasPrefix(word, "other/") || word == "reads/pg5" || word == "reads/" {
			continue // a path says the backend of the inventory, or none
		}
		var said check.Said
		w := ask(s, "GET", "/"+word+"/replica", "")
		if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil || said.Host != want || (w.Code == 404) != (want == "") {
			t.Errorf("/%s/replica: %d %s", word, w.Code, w.Body)
		}
		if w := ask(s, "OPTIONS", "/"+word, ""); (w.Code == 404) != (want == "") {
			t.Errorf("/%s: %d %s", word, w.Code, w.Body)
		}
	}
}
