package runtime

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/topology"
)

func openDir(t *testing.T, base string) (*StateDir, error) {
	t.Helper()
	return OpenStateDir(base, "app", slog.New(slog.DiscardHandler))
}

func mustOpenDir(t *testing.T, base string) *StateDir {
	t.Helper()
	d, err := openDir(t, base)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestStateDirKeepsItsID(t *testing.T) {
	base := t.TempDir()
	d := mustOpenDir(t, base)
	if _, err := openDir(t, base); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second process got the directory: %v", err)
	}
	id := d.ID
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = mustOpenDir(t, base)
	defer d.Close()
	if d.ID != id {
		t.Errorf("the id was %v and is %v", id, d.ID)
	}
}

func TestStateDirNotWritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openDir(t, file); err == nil || !strings.Contains(err.Error(), "option StateDir") {
		t.Errorf("got %v, want an error that names the option", err)
	}
}

func TestStateDirReplacesABrokenID(t *testing.T) {
	base := t.TempDir()
	d := mustOpenDir(t, base)
	d.Close()
	if err := os.WriteFile(filepath.Join(d.Path, processFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := mustOpenDir(t, base)
	defer again.Close()
	if again.ID == d.ID || again.ID == [16]byte{} {
		t.Errorf("the id is %v", again.ID)
	}
}

func TestStateDirSumsAndCleaning(t *testing.T) {
	d := mustOpenDir(t, t.TempDir())
	defer d.Close()
	id := func(p int32) topology.TaskID { return topology.TaskID{Partition: p} }
	for p := range int32(3) {
		if err := os.MkdirAll(d.TaskDir(id(p)), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	d.NotePositions(id(0), 4711)
	d.NotePositions(id(7), 1) // has no directory
	if sums := d.Sums(); len(sums) != 3 || sums[id(0)] != 4711 || sums[id(1)] != 0 {
		t.Errorf("sums are %v", sums)
	}
	old := time.Now().Add(-time.Hour)
	for p := range int32(2) {
		if err := os.Chtimes(d.TaskDir(id(p)), old, old); err != nil {
			t.Fatal(err)
		}
	}
	d.Clean(time.Minute, func(other topology.TaskID) bool { return other == id(0) })
	if left := d.Tasks(); len(left) != 2 || left[0] != id(0) || left[1] != id(2) {
		t.Errorf("left are %v, want the one in use and the new one", left)
	}
}

func TestNoStateDir(t *testing.T) {
	a, b := mustOpenDir(t, ""), mustOpenDir(t, "")
	if a.ID == b.ID || a.Path != "" || a.TaskDir(topology.TaskID{}) != "" || len(a.Sums()) > 0 {
		t.Errorf("without a directory: %+v and %+v", a, b)
	}
	a.NotePositions(topology.TaskID{}, 1)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
