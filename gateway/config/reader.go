package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxTokens is far more than any config has, and few enough for the
	// recursive parser.
	maxTokens = 10000
	maxValue  = 1024 // bytes of one value
	maxName   = 64   // characters of an unknown key that a message shows

	required = "lan.interface, wan.interface, wan.address and, unless that is dhcp, wan.gateway"
)

// place is where something stands in the file; the zero value is nowhere.
type place struct{ line, column int }

func placeOf(t *token.Token) place { return place{t.Position.Line, t.Position.Column} }

// reader walks one file into a Config.
type reader struct {
	lines  []string // the file's
	config Config
	at     map[string]place // a key's value, a section's name
	bad    map[string]bool  // keys and sections whose value could not be read
	errs   Errors
}

func newReader(text string) *reader {
	return &reader{lines: strings.Split(text, "\n"), config: Default(), at: map[string]place{}, bad: map[string]bool{}}
}

func (r *reader) refuse(at place, key, format string, args ...any) {
	r.bad[key] = true
	r.errs = append(r.errs, Error{Line: at.line, Column: at.column, Key: key, Reason: fmt.Sprintf(format, args...)})
}

// parse returns the file's tree, or nil after an error.
func (r *reader) parse() ast.Node {
	tokens, err := lex(r.lines)
	if err == nil {
		if r.screen(tokens); len(r.errs) > 0 {
			return nil
		}
	}
	var file *ast.File
	if err == nil {
		file, err = build(tokens)
	}
	if err != nil {
		r.syntax(err)
		return nil
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		r.refuse(place{}, "", "the file is empty; it needs at least %s", required)
		return nil
	}
	return file.Docs[0].Body
}

// lex and build guard the YAML library, which may panic on text that no person writes.
//
// The library loses count of columns at tabs and where blanks end a line, so it
// gets the lines without: a tab is one blank.
func lex(lines []string) (tokens token.Tokens, err error) {
	defer guard(&err)
	var text strings.Builder
	for _, line := range lines {
		text.WriteString(strings.TrimRight(strings.ReplaceAll(line, "\t", " "), " "))
		text.WriteByte('\n')
	}
	return lexer.Tokenize(text.String()), nil
}

func build(tokens token.Tokens) (file *ast.File, err error) {
	defer guard(&err)
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

func guard(err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("the YAML reader gave up on it (%v)", cause)
	}
}

// screen refuses what YAML has and a config does not need.
func (r *reader) screen(tokens token.Tokens) {
	content, ended, count := false, false, 0
	for _, t := range tokens {
		refused := ""
		switch t.Type {
		case token.CommentType:
			continue
		case token.DocumentHeaderType, token.DocumentEndType:
			ended = ended || content
			continue
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			refused = "anchors and aliases are not read here; write the value itself"
		case token.TagType:
			refused = "tags are not read here; write the value alone"
		case token.DirectiveType:
			refused = "directives are not read here; remove the line"
		case token.MappingKeyType:
			refused = "a key is written without a question mark, as name: value"
		case token.LiteralType, token.FoldedType:
			refused = "block text is not read here; write the value on the key's line"
		}
		if ended {
			refused = "a second document; a config is one document, so remove the line --- or ... before it"
		}
		if count++; count > maxTokens {
			refused = fmt.Sprintf("more than %d words and signs; a config has a few hundred: is this the right file?", maxTokens)
		}
		if refused != "" {
			r.refuse(placeOf(t), "", "%s", refused)
			if ended || count > maxTokens || t.Type == token.DirectiveType || len(r.errs) == shownErrors {
				return
			}
		}
		content = true
	}
}

// tight is a key whose colon has no blank after it.
var tight = regexp.MustCompile(`^\s*[a-z_]+:[^\s]`)

// syntax takes over the YAML library's error, and adds what would be right where it can be told.
func (r *reader) syntax(err error) {
	var at place
	reason := err.Error()
	var located yaml.Error
	if errors.As(err, &located) && located.GetToken() != nil {
		at, reason = placeOf(located.GetToken()), located.GetMessage()
	}
	switch {
	case at.line > 0 && at.line <= len(r.lines) && tight.MatchString(r.lines[at.line-1]):
		reason += "; a blank belongs after the colon, as in name: value"
	case strings.Contains(reason, "mapping value is not allowed"):
		reason += "; each key has its own line, and the keys of a section start in the same column"
	}
	r.refuse(at, "", "this is not YAML: %s", reason)
}

// start returns where a value starts. The library puts a file's last value
// behind the text when it goes on over several lines; it is then said to start
// at name, its key.
func (r *reader) start(t *token.Token, name place) place {
	at := placeOf(t)
	if at.line > len(r.lines) || at.column > utf8.RuneCountInString(r.lines[at.line-1]) {
		return name
	}
	return at
}

// section walks the keys under path; name is where it is named.
func (r *reader) section(path string, name place, node ast.Node) {
	var members []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.NullNode: // a section whose keys are all left to their defaults
	case *ast.MappingNode:
		members = n.Values
	default:
		if path == "" {
			r.refuse(r.start(node.GetToken(), name), "", "a config is keys and values, such as mode: route, with a blank after the colon")
		} else {
			r.refuse(r.start(node.GetToken(), name), path, "this is a section, with keys under it: %s", strings.Join(names(path), ", "))
		}
		return
	}
	for _, m := range members {
		r.member(path, m)
	}
}

// member reads one key of a section and what stands behind it.
func (r *reader) member(section string, m *ast.MappingValueNode) {
	at, name := placeOf(m.Key.GetToken()), m.Key.GetToken().Value
	if !slices.Contains(names(section), name) {
		reason, meant := unknown(section, name)
		r.refuse(at, join(section, printable(name)), "%s", reason)
		if meant != "" {
			r.bad[meant] = true // that it is missing follows from this
		}
		return
	}
	path := join(section, name)
	if first, twice := r.at[path]; twice {
		r.refuse(at, path, "written twice; line %d has it already, so remove one", first.line)
		return
	}
	r.at[path] = at
	if k, ok := find(path); ok {
		r.value(k, at, m.Value)
	} else {
		r.section(path, at, m.Value)
	}
}

// printable returns a name as a message can show it: short, and without control characters.
func printable(name string) string {
	if runes := []rune(name); len(runes) > maxName {
		name = string(runes[:maxName]) + "…"
	}
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// value reads what a key holds. name is where the key stands, for a value that stands nowhere.
func (r *reader) value(k key, name place, node ast.Node) {
	if list, ok := node.(*ast.SequenceNode); ok && k.item != nil {
		r.at[k.path] = r.start(list.GetToken(), name)
		k.size(&r.config, len(list.Values))
		for i, entry := range list.Values {
			r.scalar(fmt.Sprintf("%s[%d]", k.path, i), r.at[k.path], entry, k.item(i))
		}
		return
	}
	r.scalar(k.path, name, node, k.set)
}

// scalar reads one value of the key or list entry at path.
func (r *reader) scalar(path string, name place, node ast.Node, set func(*Config, value) error) {
	t := node.GetToken()
	at := r.start(t, name)
	if node.Type() == ast.NullType {
		if t.Value != "~" { // it may be nothing at all, which has no place
			at = name
		}
		r.refuse(at, path, "it has no value; write one or remove it")
		return
	}
	if _, ok := node.(ast.ScalarNode); !ok {
		r.refuse(at, path, "one value is wanted here, not a list or a section")
		return
	}
	r.at[path] = at
	if len(t.Value) > maxValue {
		r.refuse(at, path, "the value has %d bytes; no value needs more than %d", len(t.Value), maxValue)
		return
	}
	quoted := t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType
	if err := set(&r.config, value{t.Value, quoted}); err != nil {
		r.refuse(at, path, "%s", err)
	}
}

// check adds what Check finds, at its place, unless it only follows from what could not be read.
func (r *reader) check() {
	for _, p := range r.config.problems() {
		if slices.ContainsFunc(append(p.with, p.key), r.unread) {
			continue
		}
		at := r.place(p.key)
		for _, other := range p.with {
			if at == (place{}) || r.at[p.key] == (place{}) && r.at[other] != (place{}) {
				at = r.place(other)
			}
		}
		if write, absent := strings.CutPrefix(p.reason, missing); absent {
			if comment := r.commented(p.key); comment != (place{}) {
				at, p.reason = comment, missing+"take the # away and "+write
			}
		}
		r.errs = append(r.errs, Error{Line: at.line, Column: at.column, Key: p.key, Reason: p.reason})
	}
}

// commented returns where a key that is not in its section stands there as a
// comment, such as "# interface: eth1"; else nothing.
func (r *reader) commented(key string) place {
	section := parent(key)
	under, there := r.at[section]
	if _, set := r.at[key]; set || !there {
		return place{}
	}
	for n, line := range r.lines[under.line:] {
		rest := strings.TrimLeft(line, " ")
		column := len(line) - len(rest) + 1
		comment, is := strings.CutPrefix(rest, "#")
		if is && column > under.column && strings.HasPrefix(strings.TrimLeft(comment, " "), key[len(section)+1:]+":") {
			return place{under.line + n + 1, column}
		}
		if !is && rest != "" && column <= under.column {
			break // the next section
		}
	}
	return place{}
}

// unread reports whether the key, a section around it, or the file could not be read.
func (r *reader) unread(key string) bool {
	for !r.bad[key] {
		if key == "" {
			return false
		}
		key = parent(key)
	}
	return true
}

// place returns where a key stands, else its section, else nothing.
func (r *reader) place(key string) place {
	for ; key != ""; key = parent(key) {
		if at, ok := r.at[key]; ok {
			return at
		}
	}
	return place{}
}

// parent returns the section of a key, or the key of a list entry; "" at the top.
func parent(key string) string { return key[:max(0, strings.LastIndexAny(key, ".["))] }
