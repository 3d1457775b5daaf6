package sessions

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
	"unicode"
)

// What an exported method needs beside its comment.
const (
	anExample    = iota // of its own
	callsExample        // a call in one of its type's
)

// Who reads the package's page finds for each call what it does and a program
// that runs.
func TestEveryCallIsDocumentedWithAnExample(t *testing.T) {
	methods, examples := publicMethods(t), runnableExamples(t)
	for name, wants := range map[string]int{"SessionsMgrApi": anExample, "ClientSession": callsExample, "ClientDevice": callsExample, "Manager": anExample} {
		if len(methods[name]) == 0 {
			t.Errorf("%s has no methods: was it renamed?", name)
		}
		for method, comment := range methods[name] {
			if strings.TrimSpace(comment) == "" {
				t.Errorf("%s.%s has no comment", name, method)
			}
			if name == "Manager" && (method == "Run" || method == "Wake" || method == "Ready" || method == "Wall" || method == "WallTrusted") {
				continue // the gateway's own to call
			}
			if !shown(examples, name, method, wants) {
				t.Errorf("%s.%s has no example that runs", name, method)
			}
		}
	}
	for _, name := range []string{"SessionProvider", "SessionSource"} {
		for method, comment := range methods[name] {
			if strings.TrimSpace(comment) == "" {
				t.Errorf("%s.%s has no comment", name, method)
			}
		}
	}
	if examples["SessionProvider"] == nil {
		t.Error("SessionProvider has no example that runs")
	}
}

// shown reports that a method has an example as wanted. That of an interface's
// is its type's, with a suffix: go doc shows no others.
func shown(examples map[string]*ast.BlockStmt, name, method string, wants int) bool {
	if wants == anExample {
		first := []rune(method)
		first[0] = unicode.ToLower(first[0])
		return examples[name+"_"+method] != nil && name == "Manager" || examples[name+"_"+string(first)] != nil
	}
	for of, body := range examples {
		if of != name && !strings.HasPrefix(of, name+"_") {
			continue
		}
		called := false
		ast.Inspect(body, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == method {
				called = true
			}
			return !called
		})
		if called {
			return true
		}
	}
	return false
}

// publicMethods are the exported methods of exported types, with their comments.
func publicMethods(t *testing.T) map[string]map[string]string {
	t.Helper()
	methods := map[string]map[string]string{}
	add := func(of, method, comment string) {
		if methods[of] == nil {
			methods[of] = map[string]string{}
		}
		if ast.IsExported(method) {
			methods[of][method] = comment
		}
	}
	for _, file := range sources(t, func(name string) bool { return !strings.HasSuffix(name, "_test.go") }) {
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil {
				if of, ok := f.Recv.List[0].Type.(*ast.StarExpr); ok {
					add(of.X.(*ast.Ident).Name, f.Name.Name, f.Doc.Text())
				}
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if of, ok := spec.Type.(*ast.InterfaceType); ok {
				for _, m := range of.Methods.List {
					for _, name := range m.Names {
						add(spec.Name.Name, name.Name, m.Doc.Text())
					}
				}
			}
			return true
		})
	}
	return methods
}

// runnableExamples are the bodies of those that say what they print.
func runnableExamples(t *testing.T) map[string]*ast.BlockStmt {
	t.Helper()
	bodies := map[string]*ast.BlockStmt{}
	files := sources(t, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	for _, e := range doc.Examples(files...) {
		if e.Output == "" {
			t.Errorf("Example%s does not say what it prints", e.Name)
			continue
		}
		body, ok := e.Code.(*ast.BlockStmt)
		if !ok { // its whole file
			for _, decl := range e.Code.(*ast.File).Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == "Example"+e.Name {
					body = f.Body
				}
			}
		}
		bodies[e.Name] = body
	}
	return bodies
}

func sources(t *testing.T, want func(name string) bool) (files []*ast.File) {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || !want(e.Name()) {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}
