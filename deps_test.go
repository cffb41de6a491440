package millrace

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/millrace/millrace"

// layers is what each package may import of this module, its tests aside: imports point down only. A package that is
// not named may import whatever is: the mains, and tests of the whole.
var layers = map[string][]string{
	"serde":               {},
	"state":               {"serde"},
	"topology":            {"state", "serde"},
	"internal/metrics":    {"topology", "state", "serde", "internal/assign"},
	"internal/store":      {"topology", "state", "serde", "internal/metrics"},
	"internal/node":       {"internal/store", "topology", "state", "serde", "internal/metrics"},
	"internal/task":       {"internal/node", "internal/store", "topology", "state", "serde", "internal/metrics"},
	"internal/assign":     {"topology", "state", "serde"},
	"internal/restore":    {"internal/task", "internal/store", "internal/assign", "internal/metrics", "topology", "state", "serde"},
	"internal/runtime":    {"internal/restore", "internal/assign", "internal/task", "internal/store", "internal/metrics", "topology", "state", "serde"},
	"internal/kafka":      {"internal/assign", "internal/metrics", "topology", "state", "serde"},
	"streams":             {"internal/runtime", "internal/kafka", "internal/assign", "internal/restore", "internal/task", "internal/node", "internal/store", "internal/metrics", "topology", "state", "serde"},
	"streamstest":         {"internal/runtime", "internal/assign", "internal/task", "internal/store", "topology", "state", "serde"},
	"internal/properties": {},
	"pod":                 {"streams", "topology", "internal/properties", "internal/reset"},
	"devkafka":            {},
	"internal/kafkatest":  {},
	"internal/check":      {},
	"internal/sim":        {"internal/check", "streams", "internal/store", "topology", "state", "serde"},
}

// libraries is what the packages above may import from elsewhere: few, as a program that uses Millrace has them all.
var libraries = []string{
	"github.com/twmb/franz-go", "github.com/cockroachdb/pebble/v2", "github.com/tidwall/btree",
	"github.com/prometheus/client_golang", "github.com/google/uuid",
	"github.com/KimMachineGun/automemlimit", // of pod alone
}

func TestImportsPointDown(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(file))
		seen[pkg] = true
		allowed, layered := layers[pkg]
		if !layered {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if inside, ok := strings.CutPrefix(imported, module+"/"); ok {
				if !slices.Contains(allowed, inside) {
					t.Errorf("%s imports %s: package %s may import %q of this module, so that imports point down only", file, inside, pkg, allowed)
				}
			} else if strings.Contains(strings.Split(imported, "/")[0], ".") && !slices.ContainsFunc(libraries, func(l string) bool { return strings.HasPrefix(imported, l) }) {
				t.Errorf("%s imports %s: packages that users import may use %q only", file, imported, libraries)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range layers {
		if !seen[pkg] {
			t.Errorf("the table names package %s, which is not there", pkg)
		}
	}
}
