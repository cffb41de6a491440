package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"testing"
)

// TestVerbsHaveExamples: each function and method that a program can call is called by an Example that runs, but for the
// options of an application, of which configuration.md has the list.
func TestVerbsHaveExamples(t *testing.T) {
	fset := token.NewFileSet()
	imported := compiled(t, fset)
	shown := map[string]bool{}
	for _, dir := range []string{"../streams", "../streamstest"} {
		var files []*ast.File
		names, _ := filepath.Glob(dir + "/example*_test.go")
		for _, name := range names {
			f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		uses := map[*ast.Ident]types.Object{}
		config := types.Config{Importer: imported, Error: func(error) {}} // helpers in other files are missing
		_, _ = config.Check("examples", fset, files, &types.Info{Uses: uses})
		for _, o := range uses {
			if f, ok := o.(*types.Func); ok {
				shown[f.Origin().FullName()] = true
			}
		}
	}
	missing := map[string]bool{}
	for _, name := range []string{module + "/streams", module + "/streamstest"} {
		p, err := imported.Import(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range verbs(p) {
			if !shown[f.FullName()] && f.FullName() != "(*"+module+"/streamstest.Driver).Send" { // that is for tasks
				missing[f.FullName()] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("no Example calls %s: write one, with its output", name)
	}
}

// verbs returns the exported functions and methods of a package, but for options of an application and what fmt calls.
func verbs(p *types.Package) (all []*types.Func) {
	for _, name := range p.Scope().Names() {
		switch o := p.Scope().Lookup(name).(type) {
		case *types.Func:
			if r := o.Signature().Results(); o.Exported() && (r.Len() == 0 || types.TypeString(r.At(0).Type(), types.RelativeTo(p)) != "AppOption") {
				all = append(all, o)
			}
		case *types.TypeName:
			if named, ok := o.Type().(*types.Named); ok && o.Exported() && !o.IsAlias() {
				for m := range named.Methods() {
					if m.Exported() && !slices.Contains([]string{"Error", "Unwrap", "String"}, m.Name()) {
						all = append(all, m)
					}
				}
			}
		}
	}
	return all
}
