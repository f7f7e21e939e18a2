package facts

import "path"

// OwnDirectory is the tool's in the home of a host's OS user, 0700: copies of journals and
// images of files, each below its run's id, and what outlives a run, such as a passfile.
const OwnDirectory = ".pgrepctl"

// JournalCopy is the name of a journal's copy in its run's directory.
const JournalCopy = "journal.jsonl"

// Own is a path in that directory.
func (m *Machine) Own(names ...string) string {
	return path.Join(append([]string{m.OSUserHome, OwnDirectory}, names...)...)
}
