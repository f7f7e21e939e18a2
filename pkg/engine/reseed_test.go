package engine_test

import "testing"

func TestAReseedInPlaceHasOnePointOfNoReturn(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]layout{"plain": {}, "a tablespace": {tablespace: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := damaged(l)(t)
			pre, err := w.engine(nil, nil).Preview(t.Context(), w.builtin("reseed-standby", map[string]string{"standby": "pg2", "old": "overwritten", "force": "true"}))
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, l := range pre.Lines {
				for _, d := range l.Effects {
					if d.NoReturn != "" {
						said = append(said, d.String()+": "+d.NoReturn)
					}
				}
			}
			if len(said) != 1 {
				t.Errorf("%q", said)
			}
		})
	}
}
