package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxBackupLabel is the longest label that every version reads back whole. The
// server allows 1023 bytes and truncates without an error when it parses.
const MaxBackupLabel = 900

// ValidBackupLabel checks the label given to StartBackup: printable ASCII in one
// line, 1 to MaxBackupLabel bytes. The server writes it into backup_label and
// reads that with fscanf at recovery, in no particular encoding.
func ValidBackupLabel(label string) error {
	switch {
	case label == "":
		return fmt.Errorf("backup label: %w", ErrEmpty)
	case len(label) > MaxBackupLabel:
		return fmt.Errorf("backup label: longer than %d bytes", MaxBackupLabel)
	}
	for i := range len(label) {
		if c := label[i]; c < ' ' || c > '~' {
			return fmt.Errorf("backup label: byte %d is not printable ASCII", i+1)
		}
	}
	return nil
}

// BackupLabel is the file backup_label: where recovery of a copy must begin.
type BackupLabel struct {
	StartLSN      LSN
	StartFile     string // name of the WAL file that holds StartLSN
	CheckpointLSN LSN
	Method        string // "streamed", "pg_start_backup"
	BackupFrom    string // "primary" or "standby"
	StartTime     string // as written, in the server's log time zone
	Label         string
	StartTimeline uint32 // before 11 from StartFile
	// Incremental marks a copy that pg_combinebackup must complete (17 and
	// later): it cannot be started as it is.
	Incremental bool
}

// ParseBackupLabel reads a backup_label file as strictly as the server does at
// recovery: line feeds only, start and checkpoint location first.
func ParseBackupLabel(b []byte) (BackupLabel, error) {
	l, err := parseBackupLabel(b)
	if err != nil {
		return BackupLabel{}, fmt.Errorf("parse backup_label: %w", err)
	}
	return l, nil
}

func parseBackupLabel(b []byte) (BackupLabel, error) {
	var l BackupLabel
	if bytes.ContainsAny(b, "\r\x00") {
		return l, errors.New("not a text file with line feeds only")
	}
	if !bytes.HasSuffix(b, []byte("\n")) {
		return l, errors.New("last line is cut off")
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) < 2 {
		return l, errors.New("start or checkpoint location is missing")
	}
	start, ok1 := strings.CutPrefix(lines[0], "START WAL LOCATION: ")
	check, ok2 := strings.CutPrefix(lines[1], "CHECKPOINT LOCATION: ")
	if !ok1 || !ok2 {
		return l, errors.New("does not begin with start and checkpoint location")
	}
	var err error
	if err = l.parseStart(start); err != nil {
		return l, fmt.Errorf("start location: %w", err)
	}
	if l.CheckpointLSN, err = ParseLSN(check); err != nil {
		return l, fmt.Errorf("checkpoint location: %w", err)
	}
	for i, line := range lines[2:] {
		if err := l.parseLine(line); err != nil {
			return l, fmt.Errorf("line %d: %w", i+3, err)
		}
	}
	return l, nil
}

// parseStart reads "0/2000028 (file 000000010000000000000002)".
func (l *BackupLabel) parseStart(s string) error {
	pos, rest, ok := strings.Cut(s, " (file ")
	file, tail, ok2 := strings.Cut(rest, ")")
	if !ok || !ok2 || tail != "" {
		return fmt.Errorf("%q is not a location and a file", s)
	}
	lsn, err := ParseLSN(pos)
	if err != nil {
		return err
	}
	if len(file) != 24 || strings.Trim(file, "0123456789ABCDEF") != "" {
		return fmt.Errorf("%q is not a wal file name", file)
	}
	tli, err := strconv.ParseUint(file[:8], 16, 32)
	if err != nil {
		return err
	}
	l.StartLSN, l.StartFile, l.StartTimeline = lsn, file, uint32(tli)
	return nil
}

// parseLine ignores keywords it does not know, as the server does.
func (l *BackupLabel) parseLine(line string) error {
	key, value, ok := strings.Cut(line, ": ")
	if !ok {
		return fmt.Errorf("%q is not a keyword and a value", line)
	}
	switch key {
	case "BACKUP METHOD":
		l.Method = value
	case "BACKUP FROM":
		switch value {
		case "standby":
			l.BackupFrom = value
		case "primary", "master": // master up to 14
			l.BackupFrom = "primary"
		default:
			return fmt.Errorf("backup from %q", value)
		}
	case "START TIME":
		l.StartTime = value
	case "LABEL":
		l.Label = value
	case "START TIMELINE": // since 11
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return fmt.Errorf("timeline: %w", err)
		}
		if uint32(n) != l.StartTimeline {
			return fmt.Errorf("timeline %d is not that of file %s", n, l.StartFile)
		}
	case "INCREMENTAL FROM LSN":
		l.Incremental = true
	}
	return nil
}
