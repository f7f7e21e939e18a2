package postgres

import (
	"encoding/json"
	"testing"
)

func TestLSNReadsWhatServersPrint(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]LSN{
		"0/0":               0,
		"0/16B3748":         0x16B3748,
		"16/B374D848":       0x16B374D848,
		"FFFFFFFF/FFFFFFFF": 1<<64 - 1,
	} {
		got, err := ParseLSN(text)
		if err != nil || got != want {
			t.Errorf("ParseLSN(%q) = %v, %v; want %d", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("%d prints as %q, want %q", uint64(got), got, text)
		}
	}
	// 19 prints leading zeros.
	if got, err := ParseLSN("0/016B3748"); err != nil || got != 0x16B3748 {
		t.Errorf("leading zero: %v, %v", got, err)
	}
}

func TestLSNRefusesOtherText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "/", "0", "0/", "/0", "0/0/0", "0/123456789", "0/012345678", "0/ 1", "0/-1", "0/+1", "x/1", "0/0_1"} {
		if l, err := ParseLSN(text); err == nil {
			t.Errorf("ParseLSN(%q) = %v, want an error", text, l)
		}
	}
}

func TestLSNDistanceHasASign(t *testing.T) {
	t.Parallel()
	a, b := LSN(0x1_0000_0010), LSN(0xFFFF_FFF0)
	if a.Sub(b) != 32 || b.Sub(a) != -32 {
		t.Errorf("distances %d and %d, want 32 and -32", a.Sub(b), b.Sub(a))
	}
}

func TestLSNIsAStringInJSON(t *testing.T) {
	t.Parallel()
	in := map[string]LSN{"lsn": 0x16B374D848}
	b, err := json.Marshal(in)
	if err != nil || string(b) != `{"lsn":"16/B374D848"}` {
		t.Fatalf("%s, %v", b, err)
	}
	var out map[string]LSN
	if err := json.Unmarshal(b, &out); err != nil || out["lsn"] != in["lsn"] {
		t.Errorf("%v, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"lsn":"x"}`), &out); err == nil {
		t.Error("a wrong lsn was taken")
	}
}

func TestSegmentNameFollowsSegmentSize(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lsn     LSN
		segment uint64
		want    string
	}{
		{0x2000028, 16 << 20, "000000010000000000000002"},
		{0x1_0000_0000, 16 << 20, "000000010000000100000000"},
		{0xE78838, 1 << 20, "00000001000000000000000E"},
		{0x1_FFFF_FFFF, 1 << 30, "000000010000000100000003"},
	} {
		if got, err := SegmentName(1, c.lsn, c.segment); err != nil || got != c.want {
			t.Errorf("SegmentName(%v, %d) = %s, %v; want %s", c.lsn, c.segment, got, err, c.want)
		}
	}
	for _, segment := range []uint64{0, 3 << 20, 1 << 10, 1 << 31} {
		if _, err := SegmentName(1, 0, segment); err == nil {
			t.Errorf("segment size %d was taken", segment)
		}
	}
}

func FuzzLSN(f *testing.F) {
	f.Add("0/16B3748")
	f.Add("FFFFFFFF/00000001")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLSN(text)
		if err != nil {
			return
		}
		if again, err := ParseLSN(l.String()); err != nil || again != l {
			t.Errorf("%q: %v, then %v, %v", text, l, again, err)
		}
	})
}
