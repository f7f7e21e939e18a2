package postgres

import "fmt"

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
