package effect_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/event"
)

// It may take hours: from an archive, then from the upstream, which writes on, then what it has
// received and not yet replayed.
func TestWaitTellsHowMuchWALIsLeft(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"},
		call{Do: senders, Out: `[]`}, call{Do: standbySays, Out: `[{"replay":"0/10000000","receiver":null,"writable":false}]`}, call{Do: goal, Out: `[{"goal":"0/50000000"}]`},
		call{Do: senders, Out: `[]`}, call{Do: standbySays, Out: `[{"replay":"0/20000000","receiver":null,"writable":false}]`},
		call{Do: senders, Out: `[{"state":"catchup","mark":"a","sent":"0/20000000","goal":"0/60000000"}]`},
		call{Do: senders, Out: `[{"state":"catchup","mark":"b","sent":null,"goal":"0/60000000"}]`},
		call{Do: senders, Out: `[{"state":"streaming","mark":"c","sent":"0/70000000","goal":"0/70000000"}]`},
		call{Do: mark, Out: `[{"lsn":"0/70000000"}]`},
		call{Do: replay, Out: `[{"receive":"0/70000000","replay":null}]`},
		call{Do: replay, Out: `[{"receive":"0/70000000","replay":"0/60000000"}]`},
		call{Do: replay, Out: `[{"receive":"0/70000000","replay":"0/70000000"}]`})
	do(t, await(false), in)
	const mib256 = 1 << 28
	want := []event.Progress{
		{Total: 4 * mib256, Note: "WAL replayed"}, {Bytes: mib256, Total: 4 * mib256, Note: "WAL replayed"},
		{Total: 4 * mib256, Note: "WAL sent"}, {Bytes: 5 * mib256, Total: 5 * mib256, Note: "WAL sent"},
		{Total: mib256, Note: "WAL replayed"}, {Bytes: mib256, Total: mib256, Note: "WAL replayed"},
	}
	if d := cmp.Diff(want, in.progress); d != "" {
		t.Error(d)
	}
}

// What takes a moment is no news.
func TestWaitOfAMomentTellsNothing(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: senders, Out: `[{"state":"streaming","sent":"0/500","goal":"0/600"}]`}, call{Do: mark, Out: `[{"lsn":"0/600"}]`},
		call{Do: replay, Out: `[{"receive":"0/600","replay":"0/500"}]`}, call{Do: replay, Out: `[{"receive":"0/600","replay":"0/600"}]`})
	do(t, await(false), in)
	if len(in.progress) > 0 {
		t.Errorf("%+v", in.progress)
	}
}
