package oracle

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/millrace/millrace/streamstest"
)

// Check runs the cases of one file and compares them with the results in another, by their order. differs is called
// with the first difference of each case that differs; a case with a step that this version does not have differs.
func Check(cases, expected string, differs func(id, difference string), opts ...streamstest.Option) (passed, failed int, err error) {
	next, stop := iter.Pull2(lines[Result](expected))
	defer stop()
	for c, err := range lines[Case](cases) {
		if err != nil {
			return passed, failed, err
		}
		java, err, ok := next()
		if err != nil {
			return passed, failed, err
		}
		if !ok || java.ID != c.ID {
			return passed, failed, fmt.Errorf("case %q has no result in %s; the two files must have the same cases in the same order", c.ID, expected)
		}
		difference := ""
		if got, err := Run(&c, opts...); err != nil {
			difference = err.Error()
		} else {
			difference = Compare(&java, got)
		}
		if difference == "" {
			passed++
			continue
		}
		failed++
		differs(c.ID, difference)
	}
	return passed, failed, nil
}

// Golden returns the cases of a golden file and what Java did with them. name is that of the file, without its end.
func Golden(t interface {
	Helper()
	Fatal(args ...any)
}, name string) iter.Seq2[*Case, *Result] {
	return func(yield func(*Case, *Result) bool) {
		t.Helper()
		cases := map[string]Case{}
		for c, err := range lines[Case](name + ".cases.jsonl.gz") {
			if err != nil {
				t.Fatal(err)
			}
			cases[c.ID] = c
		}
		for java, err := range lines[Result](name + ".expected.jsonl.gz") {
			if err != nil {
				t.Fatal(err)
			}
			c, ok := cases[java.ID]
			if !ok {
				t.Fatal(fmt.Errorf("%s: case %q has no inputs", name, java.ID))
			}
			if !yield(&c, &java) {
				return
			}
		}
	}
}

// lines returns the JSON objects of a file, one a line.
func lines[T any](name string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		f, err := os.Open(name)
		if err != nil {
			yield(none, err)
			return
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(name, ".gz") {
			if r, err = gzip.NewReader(f); err != nil {
				yield(none, fmt.Errorf("%s: %w", name, err))
				return
			}
		}
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, 64<<20)
		for n := 1; scanner.Scan(); n++ {
			var v T
			if err := json.Unmarshal(scanner.Bytes(), &v); err != nil {
				yield(none, fmt.Errorf("%s line %d: %w", name, n, err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
		if err := scanner.Err(); err != nil {
			yield(none, fmt.Errorf("%s: %w", name, err))
		}
	}
}
