package charts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const begin, end = "<!-- values, made by UPDATE_GOLDEN=1 go test . -->\n", "<!-- end of values -->\n"

// TestReadmes holds the table of values in each chart's README to its values.yaml, whose comments say what they are.
func TestReadmes(t *testing.T) {
	for _, chart := range charts(t) {
		text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var doc yaml.Node
		if err := yaml.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		table := "| value | default | |\n|---|---|---|\n" + strings.Join(rows(doc.Content[0], "", ""), "\n") + "\n"
		file := filepath.Join(chart, "README.md")
		readme, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, ok := strings.Cut(string(readme), begin)
		_, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Fatalf("%s has no place for the table of values", file)
		}
		golden(t, file, before+begin+table+end+after)
	}
}

// rows are lines of the table: one for each value that has no values inside which are commented, or are maps of the chart's own.
func rows(n *yaml.Node, prefix, inherited string) (lines []string) {
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		about := strings.TrimSpace(strings.NewReplacer("\n# ", " ", "# ", "").Replace(key.HeadComment))
		if about == "" {
			about = inherited
		}
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && commented(value) {
			lines = append(lines, rows(value, prefix+key.Value+".", key.HeadComment)...)
			continue
		}
		lines = append(lines, fmt.Sprintf("| `%s%s` | %s | %s |", prefix, key.Value, shown(value), about))
	}
	return lines
}

func commented(n *yaml.Node) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].HeadComment != "" || n.Content[i+1].Kind == yaml.MappingNode && commented(n.Content[i+1]) {
			return true
		}
	}
	return false
}

// shown is a default on one line.
func shown(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && n.Value == "" {
		return ""
	}
	flow := *n
	flow.Style = yaml.FlowStyle
	flow.HeadComment, flow.FootComment, flow.LineComment = "", "", ""
	text, err := yaml.Marshal(&flow)
	if err != nil {
		return err.Error()
	}
	return "`" + strings.ReplaceAll(strings.Join(strings.Fields(string(text)), " "), "|", `\|`) + "`"
}
