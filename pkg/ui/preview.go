package ui

import (
	"io"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
)

// PreviewFormat names the JSON form of a preview. A change that a reader of it
// could stumble over gets a new number.
const PreviewFormat = "pgrepctl.plan/v1"

// Preview is what a run would do, in the order in which it would do it.
type Preview struct {
	Plan    string        `json:"plan"`
	Cluster string        `json:"cluster"`
	Run     string        `json:"run,omitempty"` // the interrupted run that it goes on with
	Lines   []PreviewLine `json:"steps"`
}

// PreviewLine is one node of the plan, or one side of a bracket.
type PreviewLine struct {
	Node  string `json:"node,omitempty"` // the plan node's id
	Depth int    `json:"depth"`          // how many brackets are open around it
	Host  string `json:"host,omitempty"`
	Step  string `json:"step"`
	Phase string `json:"phase,omitempty"` // of a bracket: open or close
	// Effects are the acts; without any, Noop is the reason why nothing is
	// to be done.
	Effects []effect.Description `json:"effects,omitempty"`
	Noop    string               `json:"noop,omitempty"`
	Held    []Held               `json:"held,omitempty"`
}

// Held is a difference that is left as it is.
type Held struct {
	What string `json:"what"`
	Hint string `json:"hint,omitempty"`
	// Note: the inventory does not say how it should be, so that nothing is pending.
	Note bool `json:"note,omitempty"`
}

// Summary counts what a preview lists.
type Summary struct {
	Effects  int `json:"effects"`
	Hosts    int `json:"hosts"`          // hosts with effects
	Noops    int `json:"noops"`          // nodes with nothing to do
	NoReturn int `json:"no_return"`      // effects that cannot be undone
	Held     int `json:"held,omitempty"` // differences from the inventory that are left
}

// Summary counts what p lists.
func (p Preview) Summary() Summary {
	var s Summary
	hosts := make(map[string]bool)
	for _, l := range p.Lines {
		s.Effects += len(l.Effects)
		if len(l.Effects) == 0 && l.Noop != "" {
			s.Noops++
		}
		for _, h := range l.Held {
			if !h.Note {
				s.Held++
			}
		}
		for _, d := range l.Effects {
			hosts[l.on(d)] = true
			if d.NoReturn != "" {
				s.NoReturn++
			}
		}
	}
	s.Hosts = len(hosts)
	return s
}

func (s Summary) String() string {
	if s.Effects == 0 && s.Held > 0 {
		return "Plan: nothing to do; " + leftAlone(s.Held) + "."
	}
	if s.Effects == 0 {
		return "Plan: nothing to do; " + plural(s.Noops, "step") + " found in place."
	}
	text := "Plan: " + plural(s.Effects, "effect") + " on " + plural(s.Hosts, "host") +
		", " + number(s.Noops) + " nothing to do."
	if s.Held > 0 {
		text += " " + leftAlone(s.Held) + "."
	}
	if s.NoReturn > 0 {
		text += " " + plural(s.NoReturn, "point") + " of no return."
	}
	return text
}

func leftAlone(n int) string {
	if n == 1 {
		return "1 difference left as it is"
	}
	return plural(n, "difference") + " left as they are"
}

// PreviewOptions says how a preview is shown. Output is table (text), json or
// yaml.
type PreviewOptions struct {
	Output string
	Color  bool
	// Changes leaves out, in the table, what is in place already.
	Changes bool
}

// WritePreview writes p: "+" for what comes into being, "~" for what changes,
// "-" for what goes away, ">" for what only looks or waits, "=" for what is in
// place already, "!" for what cannot be undone, "*" for a difference that is left.
func WritePreview(w io.Writer, p Preview, o PreviewOptions) error {
	if p.Lines == nil {
		p.Lines = []PreviewLine{} // [] in JSON, not null
	}
	type document struct {
		Format string `json:"format"`
		Preview
		Summary Summary `json:"summary"`
	}
	switch o.Output {
	case "json":
		return JSON(w, document{PreviewFormat, p, p.Summary()})
	case "yaml":
		return YAML(w, document{PreviewFormat, p, p.Summary()})
	}
	var b strings.Builder
	title := "Plan " + p.Plan + ", cluster " + p.Cluster
	if p.Run != "" {
		title += ", goes on with run " + p.Run
	}
	b.WriteString(paint(o.Color, Bold, clean(title)) + "\n\n")
	c := p.columns()
	written := 0
	for _, l := range p.Lines {
		if o.Changes && len(l.Effects) == 0 && len(l.Held) == 0 {
			continue
		}
		l.write(&b, c, o.Color)
		written++
	}
	if written > 0 {
		b.WriteString("\n")
	}
	b.WriteString(paint(o.Color, Bold, p.Summary().String()) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// name is the step's column; a bracket's inside is indented.
func (l PreviewLine) name() string {
	name := strings.Repeat("  ", l.Depth) + clean(l.Step)
	if l.Phase == "close" {
		name += " (close)"
	}
	return name
}

// on is the host that an effect of l acts on.
func (l PreviewLine) on(d effect.Description) string {
	if d.Host != "" {
		return d.Host
	}
	return l.Host
}

// previewColumns are the widths of the first two columns.
type previewColumns struct{ host, step int }

func (p Preview) columns() previewColumns {
	var c previewColumns
	for _, l := range p.Lines {
		c.host = max(c.host, columns(clean(l.Host)))
		c.step = max(c.step, columns(l.name()))
		for _, d := range l.Effects {
			c.host = max(c.host, columns(clean(l.on(d))))
		}
	}
	return c
}

func (c previewColumns) head(host, step string) string {
	return "  " + pad(clean(host), c.host) + "  " + pad(step, c.step) + "  "
}

func (l PreviewLine) write(b *strings.Builder, c previewColumns, color bool) {
	defer l.writeHeld(b, c, color)
	if len(l.Effects) == 0 {
		text := c.head(l.Host, l.name())
		if l.Noop != "" {
			text += "= " + clean(l.Noop)
		}
		b.WriteString(paint(color, Dim, strings.TrimRight(text, " ")) + "\n")
		return
	}
	host, step := "", l.name()
	for _, d := range l.Effects {
		// A host is named where it changes.
		head := c.head("", step)
		if on := l.on(d); on != host {
			head, host = c.head(on, step), on
		}
		step = ""
		sign, style := signOf(d.Verb)
		b.WriteString(head + paint(color, style, sign) + " " + clean(d.String()) + "\n")
		if d.NoReturn != "" {
			b.WriteString(c.head("", "") + paint(color, Bad, "! point of no return:") + " " + clean(d.NoReturn) + "\n")
		}
		if d.Hazard != "" {
			b.WriteString(c.head("", "") + paint(color, Bad, "! hazard:") + " " + clean(d.Hazard) + "\n")
		}
		if d.Diff != "" {
			// Not below the text: a line of postgresql.conf is long.
			writeDiff(b, d.Diff, "        ", color)
		}
	}
}

func (l PreviewLine) writeHeld(b *strings.Builder, c previewColumns, color bool) {
	for _, h := range l.Held {
		b.WriteString(c.head("", "") + paint(color, Warn, "*") + " " + clean(h.What) + "\n")
		if h.Hint != "" {
			b.WriteString(c.head("", "") + "  " + clean(h.Hint) + "\n")
		}
	}
}

// signOf sorts the verbs of effects into what people know from terraform. A
// verb that is not listed changes something.
func signOf(verb string) (string, Style) {
	switch verb {
	case "create", "make", "add", "copy", "take", "authorise", "authorize":
		return "+", Good
	case "remove", "drop", "empty", "release", "abandon", "revoke":
		return "-", Bad
	case "wait until", "wait for", "verify", "log in", "check", "prove":
		return ">", Normal
	default:
		return "~", Warn
	}
}
