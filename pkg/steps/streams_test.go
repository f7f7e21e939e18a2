package steps

import (
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

func TestALimitOfACopyHasAUnit(t *testing.T) {
	t.Parallel()
	for limit, want := range map[string]int64{"": 0, "none": 0, "inventory": 0, "512kB": 512 << 10, "50MB": 50 << 20, "1GB": 1 << 30} {
		c, err := copyOptions("", "", limit, &facts.Host{}, &facts.Host{})
		if err != nil || c.limit != want {
			t.Errorf("%q is %d, %v", limit, c.limit, err)
		}
	}
	for _, limit := range []string{"50", "52428800", "0", "0MB", "MB", "-1MB", "50mb", "50M", "50MB/s", "50kB ", "1ms"} {
		if _, err := copyOptions("", "", limit, &facts.Host{}, &facts.Host{}); err == nil || !strings.Contains(err.Error(), "kB, MB or GB") {
			t.Errorf("%q: %v", limit, err)
		}
	}
}
