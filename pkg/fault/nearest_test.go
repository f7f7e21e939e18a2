package fault

import "testing"

func TestNearestFindsTypingSlipsOnly(t *testing.T) {
	t.Parallel()
	known := []string{"address", "role", "upstream", "apply_delay", "slot", "port"}
	for word, want := range map[string]string{
		"prot": "port", "adress": "address", "Role": "role", "rol": "role", "applydelay": "apply_delay",
		"upstraem": "upstream", "x": "", "": "", "hostname": "", "sl": "", "slots": "slot",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
