package remote

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
)

// knownFiles keeps what known_hosts files say: of a thousand hosts each would
// read, and hold, the lines of all the others. A file that has changed is read
// again. The zero value is ready; safe for concurrent use.
type knownFiles struct {
	mu   sync.Mutex
	read map[string]*knownHosts // by names and what stat says of them
}

// knownHosts is what one list of files says. It is not changed.
type knownHosts struct {
	db       *knownhosts.HostKeyDB
	origin   map[string]string
	warnings []string
}

func (k *knownFiles) load(files []string) (*knownHosts, error) {
	var key strings.Builder
	for _, f := range files {
		fmt.Fprintf(&key, "%s\x00", f)
		if st, err := os.Stat(f); err == nil {
			fmt.Fprintf(&key, "%d %d", st.Size(), st.ModTime().UnixNano())
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if got, ok := k.read[key.String()]; ok {
		return got, nil
	}
	db, origin, warnings, err := loadKnownHosts(files)
	if err != nil {
		return nil, err
	}
	got := &knownHosts{db: db, origin: origin, warnings: warnings}
	if k.read == nil {
		k.read = map[string]*knownHosts{}
	}
	k.read[key.String()] = got
	return got, nil
}
