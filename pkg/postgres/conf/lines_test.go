package conf

// all are the settings in file order, those that a later line overrides included.
func (f *File) all() []Setting {
	var all []Setting
	for i, l := range f.lines {
		if l.kind == setting {
			all = append(all, f.setting(i))
		}
	}
	return all
}

// includes are the include directives in file order.
func (f *File) includes() []Include {
	var all []Include
	for i, l := range f.lines {
		if l.kind == include {
			all = append(all, Include{IncludeKind(foldName(l.name)), l.value, i + 1})
		}
	}
	return all
}

// refused are the lines, counted from 1, that the server would refuse.
func (f *File) refused() []int {
	var all []int
	for i, l := range f.lines {
		if l.kind == malformed {
			all = append(all, i+1)
		}
	}
	return all
}
