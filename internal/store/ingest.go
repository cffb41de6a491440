package store

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// ingestBytes is the least that is worth a file of its own. More than that is written once, and not held in memory a
	// second time.
	ingestBytes = 1 << 20

	// ingestName is the file that is being written. One that a crash leaves is removed when the store is opened.
	ingestName = "restored.tmp"

	// ingestLevel is the level whose settings files are made with: not the last, where a removal counts as nothing, but it
	// may have to hide a value of another file.
	ingestLevel = 0
)

// An ingestion is a stage that is written to a file and becomes part of the engine, while the next is gathered.
type ingestion struct {
	stage stage
	next  int64
	done  chan error
}

// ingest begins to make a file of what is staged; not begun says that the engine takes it as a batch only. There is one
// at a time: a later one would overtake what it comes after.
func (s *Store) ingest() (begun bool, err error) {
	if err := s.ingested(); err != nil {
		return false, err
	}
	b, err := s.engine.sorted()
	if b == nil || err != nil {
		return false, err
	}
	i := &ingestion{s.stage, s.next, make(chan error, 1)}
	s.ingesting, s.stage, s.spare = i, s.spare, stage{}
	before := s.position
	go func() {
		err := i.stage.writeTo(b, before, i.next)
		if err == nil {
			err = b.apply()
		}
		i.done <- err
	}()
	return true, nil
}

// ingested waits until nothing is on its way as a file. What was is lost if that failed: nothing that came after it may
// become part of the engine then, and no later position, so that it is restored when the store is opened the next time.
func (s *Store) ingested() error {
	i := s.ingesting
	if i == nil || s.lost != nil {
		return s.lost
	}
	s.ingesting = nil
	if err := <-i.done; err != nil {
		s.lost = err
		return err
	}
	i.stage.clear(true)
	s.position, s.spare = i.next, i.stage
	return nil
}

// sorted begins a batch that becomes a file of the engine, or returns nil where that is not the thing to do: reads have
// too many files to look into already, and going through the memtable waits until there are fewer.
func (d *disk) sorted() (batch, error) {
	if d.db.Metrics().Levels[0].Sublevels >= l0Files/2 {
		return nil, nil
	}
	if err := d.failure(); err != nil {
		return nil, err
	}
	d.changes() // nothing is read until the file is there
	path := filepath.Join(d.dir, ingestName)
	f, err := d.opts.FS.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, d.trouble(err)
	}
	o := d.opts.MakeWriterOptions(ingestLevel, d.db.TableFormat())
	o.Compression = block.NoCompression // it is compressed when it is merged, and written sooner
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), o)
	return &sortedBatch{d, w, path}, nil
}

// sortedBatch is a file. Its changes come in the order of their keys, one a key.
type sortedBatch struct {
	d    *disk
	w    *sstable.Writer
	path string
}

func (b *sortedBatch) set(key, value []byte) error { return b.check(b.w.Set(key, value)) }
func (b *sortedBatch) remove(key []byte) error     { return b.check(b.w.Delete(key)) }

func (b *sortedBatch) removeRange([]byte, []byte) error {
	return errors.New("store: a range is removed in a batch of keys")
}

// check gives up the file where it cannot be written.
func (b *sortedBatch) check(err error) error {
	if err == nil {
		return nil
	}
	_ = b.w.Close()                // says the same
	_ = b.d.opts.FS.Remove(b.path) // written over the next time
	return b.d.trouble(err)
}

func (b *sortedBatch) apply() error {
	if err := b.w.Close(); err != nil {
		return b.d.trouble(errors.Join(err, b.d.opts.FS.Remove(b.path)))
	}
	defer b.d.applies.Add(1)
	return b.d.trouble(b.d.db.Ingest(context.Background(), []string{b.path}))
}
