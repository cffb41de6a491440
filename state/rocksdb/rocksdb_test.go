package rocksdb_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/enginetest"
	"github.com/millrace/millrace/state/rocksdb"
	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/streamstest"
	"github.com/millrace/millrace/test/oracle"
)

var engines = rocksdb.New(rocksdb.Options{})

func TestEngine(t *testing.T)  { enginetest.Run(t, engines.Open, true) }
func TestReaders(t *testing.T) { enginetest.Readers(t, engines.Open) }

func ExampleEngines_Open() {
	engines := rocksdb.New(rocksdb.Options{BlockCache: 64 << 20})
	b := streams.NewBuilder()
	b.Stream("lines", serde.String, serde.String).
		GroupBy(func(_, word string) string { return word }).
		Count(streams.As("words"), streams.InEngine(engines.Open)).
		ToStream().
		To("counts")
	t, err := b.Build()
	if err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "rocksdb")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	d, err := streamstest.Open(t, streamstest.StateDir(dir))
	if err != nil {
		panic(err)
	}
	in := d.Input("lines", serde.String, serde.String)
	in.Send("", "tea")
	in.Send("", "tea")
	fmt.Println(d.Store("words", serde.String, serde.Int64).Get("tea"))
	if err := d.Close(); err != nil {
		panic(err)
	}
	// Output: 2 true
}

// What Java does with programs and inputs comes out of RocksDB too.
func TestJudgedByJava(t *testing.T) {
	for _, level := range []string{"level2", "level3"} {
		n := 0
		for c, java := range oracle.Golden(t, "../../test/oracle/testdata/"+level) {
			if n++; n%7 != 0 { // they are thousands
				continue
			}
			got, err := oracle.Run(c, streamstest.StateDir(t.TempDir()), streamstest.StoreEngine(engines.Open))
			if err != nil {
				t.Fatal(err)
			}
			if difference := oracle.Compare(java, got); difference != "" {
				t.Errorf("case %s: %s", c.ID, difference)
			}
		}
	}
}

const (
	crashEnv  = "MILLRACE_ROCKSDB_DIR"
	crashKeys = 100
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashEnv); dir != "" {
		fmt.Println(writeForEver(dir))
	}
	os.Exit(m.Run())
}

// writeForEver applies batches, each with its number as the position and for one key, until it is killed.
func writeForEver(dir string) error {
	e, err := engines.Open(dir)
	if err != nil {
		return err
	}
	for i := uint64(1); ; i++ {
		n := binary.BigEndian.AppendUint64(nil, i)
		b := e.Batch(0)
		if err := errors.Join(b.Set([]byte("position"), n), b.Set(fmt.Appendf(nil, "key%d", i%crashKeys), n), b.Apply()); err != nil {
			return err
		}
		if i%50_000 == 0 {
			if err := e.Settle(); err != nil {
				return err
			}
			fmt.Println(i)
		}
	}
}

// What kill -9 leaves is what the engine held after one of its batches.
func TestKilled(t *testing.T) {
	for range 3 {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for i := 0; i < 4 && lines.Scan(); i++ {
		}
		if err := errors.Join(lines.Err(), cmd.Process.Kill()); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		e, err := engines.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		last, ok, err := e.Get([]byte("position"), nil)
		if err != nil || !ok || len(last) != 8 {
			t.Fatalf("there is no position: %x, %v", last, err)
		}
		position := binary.BigEndian.Uint64(last)
		for k := range uint64(crashKeys) {
			want := position - (position+crashKeys-k)%crashKeys
			got, ok, err := e.Get(fmt.Appendf(nil, "key%d", k), nil)
			if err != nil || !ok || binary.BigEndian.Uint64(got) != want {
				t.Errorf("at position %d key %d has %x, %v, %v; want %d", position, k, got, ok, err, want)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Files that cannot be read are told from a disk that cannot be written.
func TestCorrupt(t *testing.T) {
	dir := t.TempDir()
	e, err := engines.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := e.Batch(0)
	if err := errors.Join(b.Set([]byte("key"), []byte("value")), b.Apply(), e.Close()); err != nil {
		t.Fatal(err)
	}
	manifests, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatal(manifests, err)
	}
	for _, name := range manifests {
		if err := os.WriteFile(name, bytes.Repeat([]byte("?"), 4096), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := engines.Open(dir); !errors.Is(err, state.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := engines.Open(filepath.Join(file, "store")); err == nil || errors.Is(err, state.ErrCorrupt) {
		t.Errorf("a file in the way is %v", err)
	}
}
