package ui

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
)

func preview() Preview {
	hba := "--- /etc/postgresql/15/main/pg_hba.conf\n+++ /etc/postgresql/15/main/pg_hba.conf\n@@ -1,2 +1,3 @@\n local all all peer\n+hostssl replication replicator 10.0.0.13/32 scram-sha-256\n host all all 10.0.0.0/8 scram-sha-256\n"
	return Preview{
		Plan: "bootstrap-standby", Cluster: "shop",
		Lines: []PreviewLine{
			{Node: "1", Host: "pg1", Step: "lock", Phase: "open", Effects: []effect.Description{{Host: "pg1", Verb: "take", Subject: "the cluster lock", Detail: "(advisory lock, freed when the session ends)"}}},
			{Node: "1.1", Depth: 1, Host: "pg1", Step: "role", Noop: "role replicator exists with this password"},
			{Node: "1.2", Depth: 1, Host: "pg1", Step: "pg_hba.conf", Effects: []effect.Description{{Verb: "edit", Subject: "/etc/postgresql/15/main/pg_hba.conf", Detail: "(+1 rule)", Diff: hba}}},
			{Node: "1.3", Depth: 1, Host: "pg1", Step: "slot", Effects: []effect.Description{{Verb: "create", Subject: "slot pg3"}}},
			{Node: "1.4", Depth: 1, Host: "pg3", Step: "server", Effects: []effect.Description{{Verb: "stop", Subject: "the server"}}},
			{Node: "1.5", Depth: 1, Host: "pg1", Step: "backup", Phase: "open", Effects: []effect.Description{{Verb: "start", Subject: "a base backup", Detail: "(fast checkpoint)"}}},
			{Node: "1.5.1", Depth: 2, Host: "pg3", Step: "rsync", Effects: []effect.Description{
				{Verb: "empty", Subject: "/var/lib/postgresql/15/main", NoReturn: "the files of the old standby are deleted"},
				{Verb: "copy", Subject: "the data directory", Detail: "from pg1 into /var/lib/postgresql/15/main (rsync)"},
			}},
			{Node: "1.5", Depth: 1, Host: "pg1", Step: "backup", Phase: "close", Effects: []effect.Description{{Verb: "stop", Subject: "the base backup"}}},
			{Node: "1.6", Depth: 1, Host: "pg3", Step: "wait", Effects: []effect.Description{{Verb: "wait until", Subject: "it streams from pg1"}}},
			{Node: "1.7", Depth: 1, Host: "pg3", Step: "traffic"},
			{Node: "1.8", Depth: 1, Host: "pg3", Step: "copy-key", Effects: []effect.Description{
				{Host: "pg3", Verb: "create", Subject: "/dev/shm/pgrepctl/key"},
				{Host: "primary-1", Verb: "add", Subject: "the key", Detail: "to ~/.ssh/authorized_keys"},
				{Host: "primary-1", Verb: "log in", Subject: "by it"},
			}},
			{Node: "1", Host: "pg1", Step: "lock", Phase: "close", Effects: []effect.Description{{Verb: "release", Subject: "the cluster lock"}}},
		},
	}
}

func TestPreviewIsShownInEveryForm(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]PreviewOptions{
		"preview.golden":       {},
		"preview-color.golden": {Color: true, Output: "table"},
		"preview.json":         {Output: "json", Color: true},
		"preview.yaml":         {Output: "yaml"},
	} {
		var b bytes.Buffer
		if err := WritePreview(&b, preview(), o); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
}

func TestColouredPreviewSaysTheSame(t *testing.T) {
	t.Parallel()
	var plain, colored bytes.Buffer
	if err := WritePreview(&plain, preview(), PreviewOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := WritePreview(&colored, preview(), PreviewOptions{Color: true}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(plain.String(), uncolored(colored.String())); d != "" {
		t.Error(d)
	}
}

func TestPreviewSummaryCounts(t *testing.T) {
	t.Parallel()
	p := preview()
	for _, c := range []struct {
		p    Preview
		want string
	}{
		{p, "Plan: 13 effects on 3 hosts, 1 nothing to do. 1 point of no return."},
		{Preview{Lines: p.Lines[:1]}, "Plan: 1 effect on 1 host, 0 nothing to do."},
		{Preview{Lines: p.Lines[1:2]}, "Plan: nothing to do; 1 step found in place."},
		{Preview{}, "Plan: nothing to do; 0 steps found in place."},
	} {
		if got := c.p.Summary().String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestEmptyPreviewIsAListAndNotNull(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WritePreview(&b, Preview{Plan: "p", Cluster: "c"}, PreviewOptions{Output: "json"}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b.Bytes(), []byte(`"steps": []`)) {
		t.Error(b.String())
	}
}

// TestDifferencesThatStayAreCounted: one of them, or several, with other effects or alone.
func TestDifferencesThatStayAreCounted(t *testing.T) {
	t.Parallel()
	for s, want := range map[Summary]string{
		{Held: 1}:           "Plan: nothing to do; 1 difference left as it is.",
		{Held: 3, Noops: 7}: "Plan: nothing to do; 3 differences left as they are.",
		{Effects: 1, Hosts: 1, Noops: 2, Held: 2}: "Plan: 1 effect on 1 host, 2 nothing to do. 2 differences left as they are.",
	} {
		if got := s.String(); got != want {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
}
