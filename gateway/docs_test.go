package gateway

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// public are the packages that other programs import.
var public = []string{".", "config", "api/client", "../sessions"}

// unshown are those functions and methods of public packages without an example
// that runs, and why.
var unshown = map[string]string{
	"gateway.Child": "never returns where it does something", "gateway.Gateway.Run": "takes two ports; it is in the package's example",
	"gateway.Gateway.Reload": "needs a gateway, which takes root", "gateway.LiveKeys": "config's", "gateway.RestartKeys": "config's",
	"gateway.RunConfig": "takes two ports", "gateway.CheckConfig": "looks for two ports", "gateway.Demo": "takes a minute, and root",
	"gateway.ReadBackup": "the command's", "gateway.Verdict": "the command's", "client.Client.Capture": "takes packets, and root",
	"client.Capture.Next": "likewise", "client.Capture.End": "likewise", "client.Capture.Close": "likewise", "client.Capture.Said": "likewise", "client.Capture.Live": "likewise", "gateway.Version": "the command's",
	"gateway.ParseRate": "config's", "gateway.ParseSize": "config's", "gateway.ParseDuration": "config's",
	"sessions.New": "the gateway's own to call", "sessions.Manager.Run": "likewise", "sessions.Manager.Wake": "likewise", "sessions.Manager.Wall": "likewise", "sessions.Manager.WallTrusted": "likewise", "sessions.Manager.Ready": "likewise",
}

// page is what pkg.go.dev shows of a package, and which of its examples run.
type page struct {
	*doc.Package
	calls map[string]bool // names that an example which runs calls or is of
}

func readPage(t *testing.T, dir string) page {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no sources in %s: %v", dir, err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(set, name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	p, err := doc.NewFromFiles(set, files, "gatewayd/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	shown := page{p, map[string]bool{}}
	for _, e := range doc.Examples(slices.DeleteFunc(files, func(f *ast.File) bool { return !strings.HasSuffix(set.Position(f.Pos()).Filename, "_test.go") })...) {
		if e.Output == "" && !e.EmptyOutput {
			if e.Name != "" || dir != "." {
				t.Errorf("Example%s of %s does not say what it prints", e.Name, dir)
			}
			continue
		}
		shown.calls[strings.ReplaceAll(e.Name, "_", ".")] = true
		ast.Inspect(e.Code, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				shown.calls[s.Sel.Name] = true
			}
			return true
		})
	}
	return shown
}

// Who reads a public package's page finds what each name is, in which unit, what
// each call can end with, and a program that runs.
func TestPublicPackagesAreDocumented(t *testing.T) {
	for _, dir := range public {
		p := readPage(t, dir)
		if p.Doc == "" {
			t.Errorf("%s has no comment", p.Name)
		}
		for _, list := range [][]*doc.Value{p.Consts, p.Vars} {
			for _, v := range list {
				commented(t, p.Name, v)
			}
		}
		for _, f := range p.Funcs {
			p.function(t, p.Name+"."+f.Name, f.Name, f)
		}
		for _, typ := range p.Types {
			name := p.Name + "." + typ.Name
			if typ.Doc == "" {
				t.Errorf("%s has no comment", name)
			}
			for _, list := range [][]*doc.Value{typ.Consts, typ.Vars} {
				for _, v := range list {
					commented(t, p.Name, v)
				}
			}
			for _, f := range typ.Funcs {
				p.function(t, p.Name+"."+f.Name, f.Name, f)
			}
			for _, f := range typ.Methods {
				p.function(t, name+"."+f.Name, typ.Name+"."+f.Name, f)
			}
			fields(t, name, typ.Decl)
		}
	}
}

// implied are methods that a standard interface explains, and whose callers are
// not written by hand.
var implied = []string{"String", "Error", "Unwrap", "MarshalText", "UnmarshalText", "UnmarshalJSON"}

func (p page) function(t *testing.T, name, own string, f *doc.Func) {
	t.Helper()
	if f.Doc == "" && !slices.Contains(implied, f.Name) {
		t.Errorf("%s has no comment", name)
	}
	if fails(f.Decl) && !strings.Contains(f.Doc, "Err") && !strings.Contains(f.Doc, "error") && !slices.Contains(implied, f.Name) {
		t.Errorf("%s does not say what it can end with", name)
	}
	if why := unshown[name]; why == "" && !p.calls[own] && !p.calls[f.Name] && !slices.Contains(implied, f.Name) {
		t.Errorf("%s has no example that runs", name)
	}
}

// fails says whether a function's last result is an error.
func fails(f *ast.FuncDecl) bool {
	if f.Type.Results == nil {
		return false
	}
	last, ok := f.Type.Results.List[len(f.Type.Results.List)-1].Type.(*ast.Ident)
	return ok && last.Name == "error"
}

// commented wants a comment on each exported name, its own or its group's.
func commented(t *testing.T, of string, v *doc.Value) {
	t.Helper()
	for _, spec := range v.Decl.Specs {
		s := spec.(*ast.ValueSpec)
		for _, name := range s.Names {
			if name.IsExported() && v.Doc == "" && s.Doc.Text() == "" && s.Comment.Text() == "" {
				t.Errorf("%s.%s has no comment", of, name)
			}
		}
	}
}

// fields wants a comment on each method of an exported interface, and on each
// field of an exported struct that is not told by its name and its type's: a
// number has a unit, a pointer and a time a meaning when they are nil or zero.
func fields(t *testing.T, of string, decl *ast.GenDecl) {
	t.Helper()
	ast.Inspect(decl, func(n ast.Node) bool {
		var list []*ast.Field
		switch n := n.(type) {
		case *ast.InterfaceType:
			list = n.Methods.List
		case *ast.StructType:
			list = n.Fields.List
		case *ast.FuncType:
			return false
		}
		above := "" // a comment may be about the fields that follow it
		for _, f := range list {
			if f.Doc.Text() != "" {
				above = f.Doc.Text()
			}
			for _, name := range f.Names {
				said := f.Doc.Text() != "" || f.Comment.Text() != "" || strings.Contains(above, name.Name) || f.Tag != nil && strings.Contains(f.Tag.Value, ` doc:"`)
				if name.IsExported() && !said && !named(f.Type) {
					t.Errorf("%s.%s has no comment", of, name)
				}
			}
		}
		return true
	})
}

// named says whether a type is one of the gateway's own, whose comment speaks for
// the field, and not a plain number, text, pointer or moment.
func named(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.IsExported()
}
