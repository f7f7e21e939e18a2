package inventory

import (
	"fmt"
	"io"
	"os"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// maxFile bounds what is read: an inventory of a thousand hosts has 200 kB, a
// mistyped path may name a device.
const maxFile = 4 << 20

// Load reads and checks an inventory file. Every error is a *fault.Error of
// class Invalid; mistakes in the file are Errors within it.
func Load(path string) (*Cluster, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, &fault.Error{
			Class: fault.Invalid,
			Op:    "read inventory",
			Err:   err,
			Hint:  "name the inventory with -i FILE, or start one: pgrepctl inventory init",
		}
	}
	return Parse(path, data)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, maxFile>>20)
	}
	return data, nil
}
