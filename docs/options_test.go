package docs

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOptionsAreListed: the table in configuration.md is what the options' doc comments say. UPDATE_DOCS=1 writes it anew.
func TestOptionsAreListed(t *testing.T) {
	const page, begin, end = "configuration.md", "<!-- made from the doc comments -->\n", "<!-- end -->"
	text := read(t, page)
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", page)
	}
	want := before + begin + optionTable(t) + end + after
	if want == text {
		return
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Fatalf("%s has another table than the doc comments: UPDATE_DOCS=1 go test ./docs writes it anew", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil { //nolint:gosec // it is source
		t.Fatal(err)
	}
}

var (
	defaultIs = regexp.MustCompile(`Defaults?:? (.+?)(; |\. |\.$)`)
	javaIs    = regexp.MustCompile(`\(Java:? (.+)\)$`)
	reason    = regexp.MustCompile(`: |, which|, so that|, as `)
	linkTo    = regexp.MustCompile(`\[([\w.]+)\]`)
	isAKey    = regexp.MustCompile(`\b[a-z]+(\.[a-z*]+)+(=\w+)?`)
)

// optionTable has a row for each option of an application, by name: its default, its like in Java, and its first sentence.
func optionTable(t *testing.T) string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	names, _ := filepath.Glob("../streams/*.go")
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, module+"/streams")
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	rows.WriteString("\n| option | default | Java | |\n|---|---|---|---|\n")
	for _, typ := range p.Types {
		if typ.Name != "AppOption" {
			continue
		}
		for _, f := range typ.Funcs {
			text := linkTo.ReplaceAllString(strings.Join(strings.Fields(f.Doc), " "), "$1")
			preset, java := "", ""
			if m := defaultIs.FindStringSubmatch(text); m != nil {
				preset = reason.Split(m[1], 2)[0]
			}
			if m := javaIs.FindStringSubmatch(text); m != nil {
				java = isAKey.ReplaceAllString(m[1], "`$0`")
			}
			fmt.Fprintf(&rows, "| `%s` | %s | %s | %s |\n", f.Name, preset, java, strings.TrimPrefix(p.Synopsis(text), f.Name+" "))
		}
	}
	return rows.String() + "\n"
}
