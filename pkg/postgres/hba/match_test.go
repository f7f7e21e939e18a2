package hba

import "testing"

func TestAddressesRelateAsTheServerMatchesThem(t *testing.T) {
	t.Parallel()
	tests := []struct {
		have, want string
		relation   relation
	}{
		{"10.0.0.0/24", "10.0.0.12/32", full},
		{"10.0.0.0/24", "10.0.0.0/23", some},
		{"10.0.0.0/23", "10.0.1.0/24", full},
		{"10.0.0.0/23", "10.0.2.0/24", none},
		{"10.0.0.99/24", "10.0.0.12/32", full}, // bits behind the prefix do not count
		{"0.0.0.0/0", "10.0.0.12/32", full},
		{"0/0", "10.0.0.12/32", full},
		{"0.0.0.0/0", "::1/128", none},
		{"::/0", "10.0.0.12/32", none},
		{"::ffff:10.0.0.12/128", "10.0.0.12/32", none},
		{"2001:db8::/32", "2001:db8:1::/48", full},
		{"2001:db8::/33", "2001:db8::/32", some},
		{"fe80::1%eth0/128", "fe80::1/128", full},
		{"10.0.0.0 255.0.255.0", "10.9.0.1/32", full},
		{"10.0.0.0 255.0.255.0", "10.9.1.1/32", none},
		{"10.0.0.0 255.0.255.0", "10.0.0.0/8", some},
		{"10.0.0.0 255.0.255.0", "10.0.0.0/24", full},
		{"10.0.0.0 255.255.255.0", "10.0.0.0/24", full},
		{"10.1/16", "10.0.0.9/32", full}, // inet_aton: 10.0.0.1
		{"all", "samenet", full},
		{"all", "db1", full},
		{"0.0.0.0/0", "all", some},
		{"0.0.0.0/0", "samehost", some},
		{"samenet", "samehost", full},
		{"samehost", "samenet", some},
		{"samenet", "10.0.0.12/32", some},
		{"samehost", "db1", some},
		{"db1", "DB1", full},
		{"db1", "db2", some},
		{"db1", "10.0.0.12/32", some},
		{"10.0.0.12/32", "db1", some},
		{".example.org", "db1.Example.org", full},
		{".example.org", ".db.example.org", full},
		{".db.example.org", ".example.org", some},
		{".example.org", "db1.example.org.example.net", some},
		{"example.org", "db1.example.org", some},
		{`"all"`, "10.0.0.12/32", some},
		{`"all"`, "all", some},
	}
	for _, tt := range tests {
		have := rule(t, "host a a "+tt.have+" md5")
		want := rule(t, "host a a "+tt.want+" md5")
		if got := relate(have, want); got != tt.relation {
			t.Errorf("%s for %s: %d, not %d", tt.have, tt.want, got, tt.relation)
		}
		if self := relate(want, want); self != full {
			t.Errorf("%s for itself: %d", tt.want, self)
		}
	}
}
