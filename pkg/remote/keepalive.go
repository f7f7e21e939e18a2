package remote

import (
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	keepaliveRequest = "keepalive@openssh.com"
	keepaliveMisses  = 3
)

// keepAlive closes c when the server has not answered for three intervals
// (x/crypto has none of its own, go#19338). Any answer counts: sshd refuses
// the request, and that refusal is the sign of life. lost, if not nil, is
// closed when c has ended, for whatever reason. stop closes c and waits.
func keepAlive(c *ssh.Client, interval time.Duration, lost chan<- struct{}) (stop func()) {
	if interval <= 0 {
		interval = defaultKeepAlive
	}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = c.Wait()
		if lost != nil {
			close(lost)
		}
		close(ended)
	})
	wg.Go(func() {
		// Also ends a request that waits for its answer.
		defer func() { _ = c.Close() }()
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			answer := make(chan error, 1)
			wg.Go(func() {
				_, _, err := c.SendRequest(keepaliveRequest, true, nil)
				answer <- err
			})
			limit := time.NewTimer(keepaliveMisses * interval)
			select {
			case <-ended:
				limit.Stop()
				return
			case err := <-answer:
				limit.Stop()
				if err != nil {
					return
				}
			case <-limit.C:
				return
			}
		}
	})
	return func() {
		_ = c.Close()
		wg.Wait()
	}
}
