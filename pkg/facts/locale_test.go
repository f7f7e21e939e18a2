package facts

import "testing"

func TestLocalesAreComparedAsGlibcDoes(t *testing.T) {
	t.Parallel()
	m := &Machine{Glibc: "2.36", Locales: []string{"C", "C.utf8", "POSIX", "de_DE", "de_DE@euro", "de_DE.iso885915@euro", "en_US.utf8"}}
	for name, want := range map[string]bool{
		"": true, "C": true, "POSIX": true, "C.UTF-8": true, "en_US.UTF-8": true, "en_US.utf8": true, "en_US.UTF8": true, "de_DE": true,
		"de_DE.ISO-8859-15@euro": true, "de_DE.8859-15@euro": true, "de_DE@euro": true,
		"en_US": false, "en_us.UTF-8": false, "de_DE.UTF-8": false, "en_US.UTF-8@euro": false,
	} {
		if has, known := m.HasLocale(name); has != want || !known {
			t.Errorf("%q: %t %t", name, has, known)
		}
	}
	for name, m := range map[string]*Machine{"musl": {Locales: []string{"C"}}, "no list": {Glibc: "2.36"}} {
		if _, known := m.HasLocale("en_US.UTF-8"); known {
			t.Errorf("%s: known", name)
		}
		if has, known := m.HasLocale("C"); !has || !known {
			t.Errorf("%s: C is not there", name)
		}
	}
}
