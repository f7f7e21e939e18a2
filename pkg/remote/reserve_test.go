package remote

import (
	"encoding/hex"
	"testing"
	"time"
)

func TestStatusUpdateSaysWhatIsFlushed(t *testing.T) {
	t.Parallel()
	at := time.Date(2000, 1, 1, 0, 0, 1, 0, time.UTC)
	const lsn = "00000001000000ff"
	if got, want := hex.EncodeToString(flushed(0x1000000ff, at)), "72"+lsn+lsn+lsn+"00000000000f4240"+"00"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
