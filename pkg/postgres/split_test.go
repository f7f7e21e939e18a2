package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// hostile are names that are nobody's relation, or look like one and are none.
var hostile = []string{
	"16400", "-16401", "--delete", "*", "?", "[0-9]", "+ 00", "- *", "a\nb00", "a b.1", `back\slash01`, `'01`, `"01`, "$(id)42", "é01", "\xff01", ".1", "1", "0", "..1", "x_fsm", "16400_vm.1", "16400_fsm",
	"pgsql_tmp1.01", "PG_VERSION", "00", "t3_16400", "!17", "#18", "/",
}

// files writes a data directory that holds them everywhere, and gives its paths.
func files(t *testing.T) (root string, names []string) {
	t.Helper()
	root = t.TempDir()
	for _, dir := range []string{"base/1", "base/16437", "base/00", "global", "pg_xact", "pg_tblspc", "16401", "d*"} {
		for _, name := range hostile {
			if name == "/" {
				continue
			}
			names = append(names, dir+"/"+name)
		}
		for n := range 40 {
			names = append(names, fmt.Sprintf("%s/%d", dir, 20000+7*n), fmt.Sprintf("%s/30000.%d", dir, n+1))
		}
	}
	for _, n := range names {
		p := filepath.Join(root, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(names)
	return root, names
}

// sent are the files that rsync itself sends under rules.
func sent(t *testing.T, root string, rules []string) []string {
	t.Helper()
	argv := slices.Concat([]string{"-rn", "--8-bit-output", "--out-format=%f", "--no-inc-recursive"}, rules, []string{root + "/", t.TempDir() + "/"})
	out, err := exec.CommandContext(t.Context(), "rsync", argv...).Output()
	if err != nil {
		t.Fatalf("rsync %q: %v", argv, err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		name := strings.TrimPrefix(strings.TrimSuffix(line, "\n"), strings.TrimPrefix(root, "/")+"/")
		name = strings.ReplaceAll(strings.ReplaceAll(name, `\#012`, "\n"), `\#134`, `\`)
		if info, err := os.Stat(filepath.Join(root, name)); err == nil && info.IsDir() {
			continue
		}
		names = append(names, name)
	}
	return names
}

func TestStreamsSplitWhateverIsInATree(t *testing.T) {
	t.Parallel()
	root, names := files(t)
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		var sizes postgres.Sizes
		for _, n := range names {
			// A third of them was not there when the sizes were taken.
			if r.IntN(3) > 0 {
				sizes.Add(n, r.Int64N(64<<20))
			}
		}
		sizes.Add("base/5/24242", 1<<30) // and this is gone
		rules, _ := sizes.Split(1 + int(seed))
		var all []string
		for _, s := range rules {
			all = append(all, sent(t, root, s)...)
		}
		slices.Sort(all)
		if diff := cmp.Diff(names, all); diff != "" {
			t.Errorf("%d streams, -in the tree +copied:\n%s", seed+1, diff)
		}
	}
}

func TestStreamsAreEven(t *testing.T) {
	t.Parallel()
	const gib = int64(1) << 30
	for name, c := range map[string]struct {
		streams int
		add     func(s *postgres.Sizes)
		most    float64 // of what an even share would be
	}{
		"segments of one table": {2, func(s *postgres.Sizes) {
			for _, n := range []string{"", ".1", ".2", ".3"} {
				s.Add("base/5/16400"+n, gib)
			}
		}, 1.01},
		"first segments that end alike": {4, func(s *postgres.Sizes) {
			for n := range 8 {
				s.Add(fmt.Sprintf("base/%d/16400.1", n), gib)
			}
		}, 1.01},
		"20 TiB": {4, func(s *postgres.Sizes) {
			for n := range 20000 {
				s.Add(fmt.Sprintf("base/5/%d.%d", 16400+n/500, n%500), gib)
			}
		}, 1.05},
		"many small tables": {3, func(s *postgres.Sizes) {
			for n := range 100000 {
				s.Add(fmt.Sprintf("base/5/%d", 16400+n), 8192)
			}
		}, 1.05},
		"a tablespace": {2, func(s *postgres.Sizes) {
			for n := range 4 {
				s.Add(fmt.Sprintf("16384/%d00", 164+n), gib)
			}
		}, 1.01},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s postgres.Sizes
			c.add(&s)
			rules, shares := s.Split(c.streams)
			if most := float64(slices.Max(shares)) * float64(c.streams) / float64(s.Bytes()); most > c.most {
				t.Errorf("the longest stream has %.2f of its share: %d", most, shares)
			}
			for _, r := range rules {
				if len(r) > 250 {
					t.Errorf("a stream has %d rules", len(r))
				}
			}
		})
	}
}
