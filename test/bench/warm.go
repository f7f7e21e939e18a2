package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// leaveFree is about what a machine keeps free that has been up for a day.
	leaveFree = 1 << 30
	// mostWarmed is several times what any row copies.
	mostWarmed = 64 << 30
)

// warm fills the page cache with what nobody will read. A virtual machine may get each
// page from its host when it is first written, and give it back soon after it is free: all
// variants would then be measured by that, and look alike. On a machine that has been up for
// a while what is written takes the place of older files in the cache; so it does here.
func (c *copies) warm() (err error) {
	free, err := memFree()
	if err != nil {
		return err
	}
	size := min(free-leaveFree, mostWarmed)
	if size <= 0 {
		return nil
	}
	// A new file each time, for what is read twice is kept longer than the rest; and none is
	// removed before the end, for that frees its pages.
	c.warmed++
	f, err := os.Create(filepath.Join(c.state, fmt.Sprintf("memory-%d", c.warmed)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(size); err != nil { // all of it a hole, which takes no disk
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	return err
}

// memFree is the memory that nothing is in, in bytes.
func memFree() (int64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	return parseMemFree(string(text))
}

func parseMemFree(meminfo string) (int64, error) {
	for line := range strings.Lines(meminfo) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemFree:" && f[2] == "kB" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("/proc/meminfo has no MemFree")
}
