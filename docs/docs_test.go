// Package docs has tests only: that what the documentation says is so.
package docs

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/millrace/millrace"

// imports are what the Go blocks of a page may use without saying so.
var imports = []string{
	"context", "errors", "fmt", "iter", "log", "log/slog", "net/http", "os", "os/signal", "slices", "strings", "testing", "testing/synctest", "time",
	module + "/devkafka", module + "/pod", module + "/serde", module + "/streams", module + "/streamstest", module + "/topology",
	"github.com/twmb/franz-go/pkg/kgo", "github.com/twmb/franz-go/pkg/sasl/scram",
}

// TestGoBlocksCompile type-checks the Go blocks of each page. A block is a file of its own, where it has a package clause;
// or declarations, which the whole page sees; or statements, which see those of the blocks before them on the page.
// Errors name the line of the page.
func TestGoBlocksCompile(t *testing.T) {
	fset := token.NewFileSet()
	imported := compiled(t, fset)
	for _, page := range pages(t) {
		t.Run(page, func(t *testing.T) {
			var header, top, body strings.Builder
			header.WriteString("package page\n")
			for _, p := range imports {
				fmt.Fprintf(&header, "import %q\n", p)
			}
			ends := 0
			for _, b := range blocks(t, page) {
				text := fmt.Sprintf("\n//line %s:%d\n%s\n", page, b.line, b.text)
				if strings.HasPrefix(b.text, "package ") {
					check(t, fset, imported, text)
				} else if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+b.text, 0); err == nil {
					top.WriteString(text)
				} else {
					body.WriteString("{" + text)
					ends++
				}
			}
			check(t, fset, imported, header.String()+top.String()+"\nfunc _() {"+body.String()+strings.Repeat("}", ends)+"}\n")
		})
	}
}

// check type-checks a file. What is not used is no error: a page shows pieces.
func check(t *testing.T, fset *token.FileSet, imported types.Importer, source string) {
	t.Helper()
	file, err := parser.ParseFile(fset, "page.go", source, 0)
	if err != nil {
		t.Error(err)
		return
	}
	config := types.Config{Importer: imported, Error: func(err error) {
		if e, ok := err.(types.Error); !ok || !e.Soft { //nolint:errorlint // it is handed over as it is
			t.Error(err)
		}
	}}
	_, _ = config.Check("page", fset, []*ast.File{file}, nil)
}

// compiled returns an importer of what the go command has compiled.
func compiled(t *testing.T, fset *token.FileSet) types.Importer {
	t.Helper()
	exports, err := exported()
	if err != nil {
		t.Fatal(err)
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := exports[path]
		if !ok {
			return nil, fmt.Errorf("%s is not among the imports that docs_test.go names", path)
		}
		return os.Open(file)
	})
}

// exported returns the file with the types of each package that may be imported.
var exported = sync.OnceValues(func() (map[string]string, error) {
	args := append([]string{"list", "-export", "-deps", "-f", "{{if .Export}}{{.ImportPath}}={{.Export}}{{end}}"}, imports...)
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if path, file, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			files[path] = file
		}
	}
	return files, nil
})

// pages are the files whose Go blocks and links are checked.
func pages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("*.md")
	if err != nil || len(all) < 2 {
		t.Fatal("there are no pages:", all, err)
	}
	return append(all, "../README.md")
}

type block struct {
	line int // of the page, from 1
	text string
}

// blocks returns the Go blocks of a page.
func blocks(t *testing.T, page string) (all []block) {
	t.Helper()
	inside := false
	for i, line := range strings.Split(read(t, page), "\n") {
		switch {
		case !inside && line == "```go":
			inside = true
			all = append(all, block{line: i + 2})
		case inside && line == "```":
			inside = false
		case inside:
			all[len(all)-1].text += line + "\n"
		}
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")))
}

// TestLinksLeadSomewhere follows each link to a file, and to a heading of it.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code := regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	for _, page := range append(pages(t), "../ARCHITECTURE.md", "../COMPATIBILITY.md", "../CONTRIBUTING.md") {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(read(t, page), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, heading, _ := strings.Cut(m[1], "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
			} else if heading != "" && !strings.Contains(anchors(read(t, target)), "#"+heading+"\n") {
				t.Errorf("%s links to %s, which has no such heading", page, m[1])
			}
		}
	}
}

// anchors returns a line for each heading of a page, as links name it.
func anchors(text string) string {
	var all strings.Builder
	drop := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for line := range strings.Lines(text) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			all.WriteString("#" + strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-") + "\n")
		}
	}
	return all.String()
}

// TestIndexHasAllPages: docs/README.md links to each page.
func TestIndexHasAllPages(t *testing.T) {
	index := read(t, "README.md")
	for _, page := range pages(t) {
		if page != "README.md" && page != "../README.md" && !strings.Contains(index, "("+page+")") {
			t.Errorf("docs/README.md does not link to %s", page)
		}
	}
}
