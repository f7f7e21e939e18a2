package settings

// nearest returns the key that a typing slip of word most likely meant, or "".
func nearest(word string) string {
	limit := 1 + len(word)/4
	best := ""
	for _, k := range Keys() {
		if d := distance(word, k.Name); d <= limit {
			best, limit = k.Name, d-1
		}
	}
	return best
}

// distance counts insertions, deletions and replacements (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := diagonal
			if a[i-1] != b[j-1] {
				replaced++
			}
			diagonal = row[j]
			row[j] = min(row[j]+1, row[j-1]+1, replaced)
		}
	}
	return row[len(b)]
}
