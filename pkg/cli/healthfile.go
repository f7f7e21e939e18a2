package cli

import (
	"context"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// fileLook is what a look for a health file on a standby found.
type fileLook struct {
	standby *inventory.Host
	file    string
	there   bool
	// silent is why the standby gives no answer, err why the file could not be looked for there.
	silent, err error
}

// lookForFile looks for a health file on the standbys that the balancers know, side by side,
// and on each for as long as its own connection may take: a balancer of kind file has none.
func lookForFile(ctx context.Context, d host.Dialer, standbys []*inventory.Host, file string, bound func(inventory.SSH) time.Duration) []fileLook {
	var looks []fileLook
	for _, x := range standbys {
		if x.BalancedName() != "" {
			looks = append(looks, fileLook{standby: x, file: file})
		}
	}
	var wg sync.WaitGroup
	for i := range looks {
		wg.Go(func() {
			ctx, cancel := answering(ctx, bound(looks[i].standby.SSH))
			defer cancel()
			looks[i].look(ctx, d)
		})
	}
	wg.Wait()
	return looks
}

func (l *fileLook) look(ctx context.Context, d host.Dialer) {
	h, err := d.Dial(ctx, l.standby.Name)
	if err != nil {
		l.silent = err
		return
	}
	l.there, l.err = host.Exists(ctx, h.Files(l.standby.Postgres.OSUser), l.file)
}
