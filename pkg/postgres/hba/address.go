package hba

import (
	"net/netip"
	"strconv"
	"strings"
)

// network is the addresses that agree with ip in the bits of mask. A mask from
// a MASK column may have holes. Both have 4 or 16 bytes; IPv4 and IPv6 never
// match each other, not even as ::ffff:a.b.c.d.
type network struct {
	ip, mask []byte
}

func (n network) overlaps(o network) bool {
	if len(n.ip) != len(o.ip) {
		return false
	}
	for i := range n.ip {
		if (n.ip[i]^o.ip[i])&n.mask[i]&o.mask[i] != 0 {
			return false
		}
	}
	return true
}

// covers reports whether every address of o is in n.
func (n network) covers(o network) bool {
	if !n.overlaps(o) {
		return false
	}
	for i := range n.mask {
		if n.mask[i]&^o.mask[i] != 0 {
			return false
		}
	}
	return true
}

// networkOf returns the addresses of a rule that names them by number.
func networkOf(r Rule) (network, bool) {
	host, bits, slash := strings.Cut(r.Address, "/")
	ip, ok := parseIP(host)
	if !ok {
		return network{}, false
	}
	var mask []byte
	if slash {
		mask, ok = prefixMask(bits, ip)
	} else {
		mask, ok = parseIP(r.Mask)
	}
	if !ok || len(mask) != len(ip) {
		return network{}, false
	}
	return network{ip, mask}, true
}

// parseIP reads an address as getaddrinfo does with AI_NUMERICHOST: IPv6 with an
// optional zone, which does not count here, and the forms of inet_aton.
func parseIP(s string) ([]byte, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.AsSlice(), true
	}
	return parseAton(s)
}

// parseAton reads one to four numbers, decimal, octal or hexadecimal, of which
// the last fills the remaining bytes: 10.1 is 10.0.0.1.
func parseAton(s string) ([]byte, bool) {
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return nil, false
	}
	var ip [4]byte
	for i, p := range parts {
		if p == "" || p[0] < '0' || p[0] > '9' || strings.ContainsAny(p, "_bBoO") && !isHex(p) {
			return nil, false
		}
		n, err := strconv.ParseUint(p, 0, 32)
		if err != nil {
			return nil, false
		}
		last := i == len(parts)-1
		if !last && n > 255 || last && n >= 1<<(8*(4-i)) {
			return nil, false
		}
		if !last {
			ip[i] = byte(n)
			continue
		}
		for k := 3; k >= i; k-- {
			ip[k] = byte(n)
			n >>= 8
		}
	}
	return ip[:], true
}

func isHex(s string) bool {
	return strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X")
}

// prefixMask is the mask of a prefix length for addresses like ip.
func prefixMask(bits string, ip []byte) ([]byte, bool) {
	n, err := strconv.Atoi(bits)
	if err != nil || n < 0 || n > 8*len(ip) {
		return nil, false
	}
	mask := make([]byte, len(ip))
	for i := range n {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return mask, true
}
