package doctor

import (
	"regexp"
	"strings"
)

// territory is the beginning of a locale of a language in a country, for which
// there are packages by language.
var territory = regexp.MustCompile(`^([a-z]{2,3})_[A-Z]{2}(?:[.@]|$)`)

// installLocale says how a locale comes to a host, whose distribution is not known.
// glibc has C.UTF-8 and its kin itself where it has them: no package adds them.
func installLocale(name string) string {
	line := "its line of /usr/share/i18n/SUPPORTED"
	base, modifier, _ := strings.Cut(name, "@")
	if lang, codeset, ok := strings.Cut(base, "."); ok {
		set := charset(codeset)
		if modifier != "" {
			modifier = "@" + modifier
		}
		line = "the line `" + lang + "." + set + modifier + " " + set + "`"
	}
	remedy := "sudo apt-get install locales, put " + line + " into /etc/locale.gen, then sudo locale-gen"
	if m := territory.FindStringSubmatch(name); m != nil {
		remedy += "; or sudo dnf install glibc-langpack-" + m[1]
	}
	return remedy
}

// iso is one of ISO 8859, in any of the spellings that glibc takes in a locale's name.
var iso = regexp.MustCompile(`^ISO[-_]?8859[-_]?([0-9]+)$`)

// charset is the codeset of a locale's name as the file of its character map is called.
func charset(codeset string) string {
	set := strings.ToUpper(codeset)
	switch set {
	case "UTF8":
		return "UTF-8"
	case "KOI8R", "KOI8U":
		return "KOI8-" + set[4:]
	}
	return iso.ReplaceAllString(set, "ISO-8859-$1")
}
