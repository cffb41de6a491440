// Package rocksdb keeps stores in RocksDB instead of Pebble: the option InEngine takes what [Engines.Open] is. It needs cgo and
// the library (Debian: librocksdb-dev), and is a module of its own, so that nobody else does.
//
// The files are RocksDB's, but not those of Kafka Streams: what is in them is as Millrace lays it out. On a move from Java the
// state is restored from the changelogs.
package rocksdb

// #cgo LDFLAGS: -lrocksdb
// #include <stdlib.h>
// #include <rocksdb/c.h>
//
// // entry returns the key and the value that an iterator is at, or 0 where it is at the end.
// static unsigned char entry(const rocksdb_iterator_t* it, const char** key, size_t* key_size, const char** value, size_t* value_size) {
//   if (!rocksdb_iter_valid(it)) return 0;
//   *key = rocksdb_iter_key(it, key_size);
//   *value = rocksdb_iter_value(it, value_size);
//   return 1;
// }
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"unsafe"

	"github.com/millrace/millrace/state"
)

// Options bound the memory of the stores that share [Engines], in bytes. What is 0 has its default.
type Options struct {
	// BlockCache holds blocks of files, of all stores together: 32 MiB by default.
	BlockCache int64

	// WriteBuffer is how much a store gathers before it writes a file: 1 MiB by default. A store has three at most.
	WriteBuffer int64
}

// Engines are what the stores of a process have in common. They may be used from many goroutines.
type Engines struct {
	opts  *C.rocksdb_options_t
	read  *C.rocksdb_readoptions_t
	write *C.rocksdb_writeoptions_t
	flush *C.rocksdb_flushoptions_t
}

// New prepares engines. It is called once a process; what it takes is kept until the process ends.
func New(o Options) *Engines {
	if o.BlockCache <= 0 {
		o.BlockCache = 32 << 20
	}
	if o.WriteBuffer <= 0 {
		o.WriteBuffer = 1 << 20
	}
	e := &Engines{
		opts: C.rocksdb_options_create(), read: C.rocksdb_readoptions_create(), write: C.rocksdb_writeoptions_create(), flush: C.rocksdb_flushoptions_create(),
	}
	C.rocksdb_options_set_create_if_missing(e.opts, 1)
	C.rocksdb_options_set_write_buffer_size(e.opts, C.size_t(o.WriteBuffer))
	C.rocksdb_options_set_max_write_buffer_number(e.opts, 3)
	C.rocksdb_options_set_info_log_level(e.opts, 4) // fatal
	C.rocksdb_options_set_keep_log_file_num(e.opts, 1)
	table := C.rocksdb_block_based_options_create()
	C.rocksdb_block_based_options_set_block_cache(table, C.rocksdb_cache_create_lru(C.size_t(o.BlockCache)))
	C.rocksdb_block_based_options_set_filter_policy(table, C.rocksdb_filterpolicy_create_bloom_full(10))
	C.rocksdb_options_set_block_based_table_factory(e.opts, table)
	C.rocksdb_writeoptions_disable_WAL(e.write, 1) // the changelog is the log
	C.rocksdb_flushoptions_set_wait(e.flush, 0)
	return e
}

// Open opens the engine of a store: it is a [state.OpenEngine].
func (e *Engines) Open(dir string) (state.Engine, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("rocksdb: %w", err)
	}
	name := C.CString(dir)
	defer C.free(unsafe.Pointer(name))
	var msg *C.char
	db := C.rocksdb_open(e.opts, name, &msg)
	if err := failure(msg); err != nil {
		return nil, err
	}
	return &engine{Engines: e, db: db}, nil
}

// failure returns the error that RocksDB gave, if any, and frees its text.
func failure(msg *C.char) error {
	if msg == nil {
		return nil
	}
	text := C.GoString(msg)
	C.rocksdb_free(unsafe.Pointer(msg))
	if strings.HasPrefix(text, "Corruption") {
		return fmt.Errorf("%w: rocksdb: %s", state.ErrCorrupt, text)
	}
	return errors.New("rocksdb: " + text)
}

type engine struct {
	*Engines
	db *C.rocksdb_t
}

// chars returns a pointer to bytes for a call; nil where there are none.
func chars(b []byte) *C.char { return (*C.char)(unsafe.Pointer(unsafe.SliceData(b))) }

func (e *engine) Get(key, dst []byte) ([]byte, bool, error) {
	var msg *C.char
	pinned := C.rocksdb_get_pinned(e.db, e.read, chars(key), C.size_t(len(key)), &msg)
	if err := failure(msg); err != nil || pinned == nil {
		return dst, false, err
	}
	defer C.rocksdb_pinnableslice_destroy(pinned)
	var size C.size_t
	value := C.rocksdb_pinnableslice_value(pinned, &size)
	return append(dst, view(value, size)...), true, nil
}

// view shows bytes of RocksDB.
func view(p *C.char, size C.size_t) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), int(size))
}

func (e *engine) Scan(lo, hi []byte, backward bool) iter.Seq2[state.Pair, error] {
	return func(yield func(state.Pair, error) bool) {
		it := C.rocksdb_create_iterator(e.db, e.read)
		defer C.rocksdb_iter_destroy(it)
		seek(it, lo, hi, backward)
		var key, value *C.char
		var keySize, valueSize C.size_t
		for C.entry(it, &key, &keySize, &value, &valueSize) != 0 {
			p := state.Pair{Key: view(key, keySize), Value: view(value, valueSize)}
			switch {
			case backward && hi != nil && bytes.Compare(p.Key, hi) >= 0: // where it began
			case backward && bytes.Compare(p.Key, lo) < 0, !backward && hi != nil && bytes.Compare(p.Key, hi) >= 0:
				return
			case !yield(p, nil):
				return
			}
			if backward {
				C.rocksdb_iter_prev(it)
			} else {
				C.rocksdb_iter_next(it)
			}
		}
		var msg *C.char
		C.rocksdb_iter_get_error(it, &msg)
		if err := failure(msg); err != nil {
			yield(state.Pair{}, err)
		}
	}
}

func seek(it *C.rocksdb_iterator_t, lo, hi []byte, backward bool) {
	switch {
	case !backward:
		C.rocksdb_iter_seek(it, chars(lo), C.size_t(len(lo)))
	case hi == nil:
		C.rocksdb_iter_seek_to_last(it)
	default:
		C.rocksdb_iter_seek_for_prev(it, chars(hi), C.size_t(len(hi)))
	}
}

func (e *engine) Batch(int) state.Batch { return &batch{e, C.rocksdb_writebatch_create()} }

type batch struct {
	e *engine
	b *C.rocksdb_writebatch_t
}

func (b *batch) Set(key, value []byte) error {
	C.rocksdb_writebatch_put(b.b, chars(key), C.size_t(len(key)), chars(value), C.size_t(len(value)))
	return nil
}

func (b *batch) Remove(key []byte) error {
	C.rocksdb_writebatch_delete(b.b, chars(key), C.size_t(len(key)))
	return nil
}

func (b *batch) RemoveRange(lo, hi []byte) error {
	if bytes.Compare(lo, hi) < 0 { // RocksDB takes no other
		C.rocksdb_writebatch_delete_range(b.b, chars(lo), C.size_t(len(lo)), chars(hi), C.size_t(len(hi)))
	}
	return nil
}

func (b *batch) Apply() error {
	var msg *C.char
	C.rocksdb_write(b.e.db, b.e.write, b.b, &msg)
	C.rocksdb_writebatch_destroy(b.b)
	return failure(msg)
}

func (e *engine) Settle() error {
	var msg *C.char
	C.rocksdb_flush(e.db, e.flush, &msg)
	return failure(msg)
}

func (e *engine) Empty() error {
	last := []byte{}
	for p, err := range e.Scan(nil, nil, true) {
		if err != nil {
			return err
		}
		last = append(bytes.Clone(p.Key), 0)
		break
	}
	b := e.Batch(0)
	if err := b.RemoveRange(nil, last); err != nil {
		return err
	}
	return b.Apply()
}

// Close writes what is in memory to files: without a log of its own RocksDB would lose it.
func (e *engine) Close() error {
	o := C.rocksdb_flushoptions_create()
	defer C.rocksdb_flushoptions_destroy(o)
	var msg *C.char
	C.rocksdb_flush(e.db, o, &msg)
	C.rocksdb_close(e.db)
	return failure(msg)
}
