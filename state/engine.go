package state

import (
	"errors"
	"iter"
)

// An Engine keeps the bytes of one store's partition by key, in the order of the keys' bytes. One goroutine uses it, but Get
// and Scan of a global store's are called by others too, at the same time as anything but Close; a Scan then sees the engine
// as it was at some moment since it began. Package state/enginetest holds an engine to this.
//
// It needs no log of its own, for the changelog is one, and need not sync. But what a crash of the process leaves must be what
// the engine held after one of its batches, whichever: a batch is there as a whole or not at all, and none without those
// before it. Each carries the position in the changelog that it corresponds to, from which the store is restored.
type Engine interface {
	// Get appends the value of a key to dst.
	Get(key, dst []byte) (value []byte, ok bool, err error)

	// Batch begins a batch of about so many bytes. There is one at a time.
	Batch(size int) Batch

	// Scan returns the entries from lo on and before hi, in their order, or backward; hi nil is no bound. Keys and values
	// are valid until the next one. The loop may be left at any time.
	Scan(lo, hi []byte, backward bool) iter.Seq2[Pair, error]

	// Settle lets what was applied reach the disk soon, without waiting for that. It is called about once a second, or after
	// a megabyte.
	Settle() error

	// Empty removes everything.
	Empty() error

	// Close ends the use of the engine. What was applied is on disk afterwards, if it is an engine on disk.
	Close() error
}

// A Batch gathers changes of an [Engine], which are seen when it is applied. It copies what it is given.
type Batch interface {
	Set(key, value []byte) error
	Remove(key []byte) error

	// RemoveRange removes the keys from lo on and before hi.
	RemoveRange(lo, hi []byte) error

	// Apply ends the batch.
	Apply() error
}

// Pair is a key with its value.
type Pair struct{ Key, Value []byte }

// OpenEngine opens the engine of a store in a directory of its own, which it makes if need be. An error that wraps
// [ErrCorrupt] says that the files cannot be read.
type OpenEngine func(dir string) (Engine, error)

// ErrCorrupt says that an engine's files cannot be read. Where an engine returns it the store is put aside and restored from
// its changelog; after any other error it is opened again, as there may be room on the disk by then, say.
var ErrCorrupt = errors.New("state: the files cannot be read")
