// Package e2e runs the real binary against real hosts: a lab of them for each
// layout of PostgreSQL's files. Every test asserts what the tool said, its exit
// code, and what is true of the hosts afterwards.
package e2e

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// suite is what all tests share. It is made once, in TestMain.
type suite struct {
	root   string // of everything that the tests write on this machine
	binary string
	dialer string                // the same without the race detector, for `lab dial`
	disks  string                // of the labs' hosts; empty is below root
	sites  map[layout]chan *site // those that no test has now
	own    chan struct{}         // as many as may make labs of their own
	flags  flags
}

// flags choose how much is done by the tests that can go on for hours.
type flags struct {
	matrix *string
	sites  *int
	budget *time.Duration
	soak   *int
	retire *int
	reseed *int
	pairs  *int
	majors *string
	replay *string
	deploy *string
	seed   *uint64
}

func newFlags() flags {
	return flags{
		matrix: flag.String("matrix", "sample", "TestCrashMatrix: sample or full"),
		sites:  flag.Int("sites", 4, "TestCrashMatrix=full, TestRandomRetirements: labs side by side"),
		budget: flag.Duration("budget", 0, "TestCrashMatrix=full: begin no cell after that long; 0 is no limit"),
		soak:   flag.Int("soak", 1, "TestRandomKills: rounds"),
		retire: flag.Int("retire", 1, "TestRandomRetirements: rounds"),
		reseed: flag.Int("reseed", 1, "TestReseedMendsPagesThatSizeAndTimeHide: rounds"),
		pairs:  flag.Int("pairs", 3, "TestOfTwoSimultaneousRunsExactlyOneProceeds: rounds"),
		majors: flag.String("versions", "11 18", "TestEveryVersion: major versions of PostgreSQL, or all"),
		replay: flag.String("replay", "15", "TestReplay: major versions of PostgreSQL"),
		deploy: flag.String("deploy", "15", "TestDeploy: major versions of PostgreSQL"),
		seed:   flag.Uint64("seed", 1, "of what is chosen at random; 0 is another one each time"),
	}
}

// seed makes a source of chance, and says how to get the same again.
func (s *suite) seed(t *testing.T) *rand.Rand {
	t.Helper()
	n := *s.flags.seed
	if n == 0 {
		n = rand.Uint64()
	}
	fmt.Printf("%s: -seed %d\n", t.Name(), n)
	return rand.New(rand.NewPCG(n, 0))
}

var shared *suite

func TestMain(m *testing.M) {
	f := newFlags()
	flag.Parse()
	code := 0
	if testing.Short() {
		shared = &suite{flags: f}
		code = m.Run() // every test skips itself
	} else {
		code = run(m, f)
	}
	os.Exit(code)
}

func run(m *testing.M, f flags) (code int) {
	root, err := os.MkdirTemp("", "pgrepctl-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s := &suite{root: root, binary: filepath.Join(root, "bin", "pgrepctl"), dialer: filepath.Join(root, "dial", "pgrepctl"), disks: fastDisks(), sites: map[layout]chan *site{}, own: make(chan struct{}, 2), flags: f}
	systemd := newSite(s, etc, 2, "systemd")
	systemd.systemd = true
	eleven := newSite(s, etc, 3, "pg11-3")
	eleven.major = "11"
	// Most tests want the first layout, and most of their time they wait. How many run
	// at a time is said by the labs: -parallel only lets them wait for one.
	s.offer(etc, newSite(s, etc, 3, "etc1"), newSite(s, etc, 3, "etc2"), newSite(s, etc, 3, "etc3"))
	s.offer(dataDirectory, newSite(s, dataDirectory, 2, "data1"), newSite(s, dataDirectory, 2, "data2"))
	s.offer(booted, systemd)
	s.offer(older, eleven)
	if err := s.build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	end, err := s.guard()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}()
	shared = s
	return m.Run()
}

// build makes the binary, with the race detector if this test has it, and the one that
// connects the lab's hosts: each connection starts it, and with the detector that takes
// as long as all that follows.
func (s *suite) build() error {
	if err := build(s.dialer, false); err != nil {
		return err
	}
	return build(s.binary, raceDetector)
}

func build(file string, race bool, flags ...string) error {
	args := append([]string{"build", "-o", file}, flags...)
	env := append(os.Environ(), "CGO_ENABLED=0")
	if race {
		args, env = append(args, "-race"), append(env, "CGO_ENABLED=1")
	}
	cmd := exec.Command("go", append(args, "github.com/pgrepctl/pgrepctl/cmd/pgrepctl")...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build pgrepctl: %w\n%s", err, out)
	}
	return nil
}

// guard starts a process that takes the labs down when this one ends, however
// it ends: a time-out of `go test` runs no cleanup. end makes it act at once.
func (s *suite) guard() (end func() error, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("guard the labs: %w", err)
	}
	defer r.Close()
	const script = `cat; "$1" lab down --all --state "$2" 2>&1 || exit; rm -rf -- "$3"`
	cmd := exec.Command("/bin/sh", "-c", script, "guard", s.binary, s.labs(), s.root)
	cmd.Stdin = r
	// Not of our process group: Ctrl-C must not end the one who cleans up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// No pipe: when this process is killed, the first word into it would end the
	// one who cleans up, with the other labs still there.
	said, err := os.CreateTemp("", "pgrepctl-e2e-guard-")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("guard the labs: %w", err), w.Close())
	}
	cmd.Stdout = said
	if err := errors.Join(os.Remove(said.Name()), cmd.Start()); err != nil {
		return nil, errors.Join(fmt.Errorf("guard the labs: %w", err), w.Close())
	}
	return func() error {
		err := w.Close()
		if err := cmd.Wait(); err != nil {
			words, _ := io.ReadAll(io.NewSectionReader(said, 0, 1<<20))
			return fmt.Errorf("take the labs down: %w\n%s", err, words)
		}
		return err
	}, nil
}

func (s *suite) labs() string { return filepath.Join(s.root, "labs") }

// fastDisks is a memory file system, if there is one with room.
func fastDisks() string {
	const dir, room = "/dev/shm", 3 << 30
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return ""
	}
	return dir
}

// summary prints one line for a test when it ends. began excludes the time that
// the test waited for its hosts.
func summary(t *testing.T, began time.Time) {
	word := "ok"
	switch {
	case t.Skipped():
		word = "skip"
	case t.Failed():
		word = "FAIL"
	}
	fmt.Printf("%-4s %6.1fs  %s\n", word, time.Since(began).Seconds(), t.Name())
}
