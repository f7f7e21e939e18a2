package conf

import (
	"fmt"
	"time"
)

// Delay reads a value of a parameter that counts milliseconds, as the server does:
// 5min, '300 s', 300000.
func Delay(value string) (time.Duration, error) {
	ms, err := Kind{Vartype: "integer", Unit: "ms"}.number(value)
	if err != nil {
		return 0, fmt.Errorf("read %q: %w", value, err)
	}
	return time.Duration(ms) * time.Millisecond, nil
}
