package pod

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/millrace/millrace/topology"
)

// ErrIncompatible is why [Run] ends where MILLRACE_TOPOLOGY_CHECK has found that the program cannot go on where another is. [Main] ends
// with status 3 then.
var ErrIncompatible = errors.New("pod: the topology cannot go on with the tasks and the state that there are")

const incompatibleStatus = 3

// A verdict is what a program says of its topology, compared with another.
type verdict struct {
	Hash   string   `json:"hash"`
	Breaks []string `json:"breaks"`
}

// check compares the topology with the outline in a file, and writes the verdict to out and where Kubernetes reads it.
func check(t *topology.Topology, file string, out io.Writer) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("pod: MILLRACE_TOPOLOGY_CHECK: %w", err)
	}
	var before topology.Outline
	if err := json.Unmarshal(text, &before); err != nil {
		return fmt.Errorf("pod: MILLRACE_TOPOLOGY_CHECK: %s is no outline of a topology: %w", file, err)
	}
	now := t.Outline()
	v := verdict{now.Hash(), before.Breaks(now)}
	whole, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "%s\n", whole); err != nil {
		return err
	}
	if err := lastWords(v.shorten()); err != nil {
		return err
	}
	if len(v.Breaks) > 0 {
		return ErrIncompatible
	}
	return nil
}

// shorten returns the verdict with as many breaks as a termination message has room for.
func (v verdict) shorten() []byte {
	for n := len(v.Breaks); ; n-- {
		some := verdict{v.Hash, v.Breaks[:n:n]}
		if n < len(v.Breaks) {
			some.Breaks = append(some.Breaks, fmt.Sprintf("and %d more", len(v.Breaks)-n))
		}
		if text, err := json.Marshal(some); n == 0 || err == nil && len(text) <= mostWords {
			return text
		}
	}
}

// mostWords is how many bytes of a termination message Kubernetes keeps.
const mostWords = 4096

// terminationLog is where Kubernetes looks for what a container says last.
var terminationLog = "/dev/termination-log"

// lastWords says something to Kubernetes, if it listens.
func lastWords(text []byte) error {
	f, err := os.OpenFile(terminationLog, os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	_, err = f.Write(text[:min(len(text), mostWords)])
	return errors.Join(err, f.Close())
}
