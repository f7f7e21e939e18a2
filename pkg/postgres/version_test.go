package postgres

import "testing"

func TestVersionReadsWhatServersAndToolsPrint(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Version{
		"15.20 (Debian 15.20-0+deb12u1)":                 150020,
		"PostgreSQL 15.4 on x86_64-pc-linux-gnu, 64-bit": 150004,
		"pg_controldata (PostgreSQL) 16.14":              160014,
		"postgres (PostgreSQL) 9.6.24":                   90624,
		"9.4.7":                                          90407,
		"9.6":                                            90600,
		"10.23":                                          100023,
		"17rc1":                                          170000,
		"18devel":                                        180000,
		" 15\n":                                          150000,
		"150020":                                         150020,
		"90624":                                          90624,
		"14.22 (Ubuntu 14.22-1.pgdg22.04+1), compiled by gcc": 140022,
	} {
		if got, err := ParseVersion(text); err != nil || got != want {
			t.Errorf("ParseVersion(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "9", "PostgreSQL", "fifteen", "1500", "9.", "-15", "15..2"} {
		if got, err := ParseVersion(text); err == nil {
			t.Errorf("ParseVersion(%q) = %d, want an error", text, got)
		}
	}
}

func TestVersionPartsBeforeAndSince10(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v     Version
		major string
		minor int
		text  string
	}{
		{150020, "15", 20, "15.20"},
		{90624, "9.6", 24, "9.6.24"},
		{100000, "10", 0, "10.0"},
		{90400, "9.4", 0, "9.4.0"},
	} {
		if c.v.Major() != c.major || c.v.Minor() != c.minor || c.v.String() != c.text {
			t.Errorf("%d: %s, %d, %s", int(c.v), c.v.Major(), c.v.Minor(), c.v)
		}
		if again, err := ParseVersion(c.v.String()); err != nil || again != c.v {
			t.Errorf("%s reads back as %d, %v", c.v, int(again), err)
		}
	}
}

func TestVersionComparison(t *testing.T) {
	t.Parallel()
	v := Version(150004)
	for _, c := range []struct {
		parts []int
		want  bool
	}{
		{[]int{15}, true},
		{[]int{15, 4}, true},
		{[]int{15, 5}, false},
		{[]int{16}, false},
		{[]int{9, 6}, true},
		{[]int{9, 6, 24}, true},
	} {
		if v.AtLeast(c.parts...) != c.want {
			t.Errorf("15.4 at least %v: want %t", c.parts, c.want)
		}
	}
	if Version(90503).AtLeast(9, 6) || !Version(90603).AtLeast(9, 6, 3) || Version(90603).AtLeast(9, 6, 4) {
		t.Error("versions with three parts compare wrongly")
	}
	if !v.SameMajor(150020) || v.SameMajor(160004) || Version(90503).SameMajor(90603) {
		t.Error("SameMajor")
	}
}
