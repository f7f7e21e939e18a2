package inventory

import "testing"

func TestHostLinesAreThoseOfOneHost(t *testing.T) {
	t.Parallel()
	const text = `cluster: shop
hosts:
  pg1: {address: 10.0.0.11, role: primary}
  # the second
  pg2:
    role: standby
    postgres:
      settings:
        work_mem: 8MB
  pg3: {role: standby,
    upstream: pg2}
`
	for _, c := range []struct {
		name        string
		first, last int
	}{{"pg1", 3, 3}, {"pg2", 5, 9}, {"pg3", 10, 11}} {
		if first, last, ok := HostLines([]byte(text), c.name); !ok || first != c.first || last != c.last {
			t.Errorf("%s: %d to %d, %v", c.name, first, last, ok)
		}
	}
	for _, bad := range []string{"hosts: {pg1: {}, pg2: {}}", "hosts:\n  pg1: {}\n", ":", ""} {
		if first, last, ok := HostLines([]byte(bad), "pg2"); ok {
			t.Errorf("%q: %d to %d", bad, first, last)
		}
	}
}
