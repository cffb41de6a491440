package store

import "iter"

// An engine keeps bytes by key, in the order of the keys' bytes. It is used from one goroutine, but for what reader says.
//
// Engines have no log of their own: the changelog topic is one. A batch is applied as a whole, with the position in the
// changelog that it corresponds to among its entries, so that whatever a crash leaves behind is a state that the store
// once had, and says which.
type engine interface {
	// get appends the value of key to dst.
	get(key, dst []byte) (value []byte, ok bool, err error)

	// batch begins a batch of about so many bytes. There is one at a time.
	batch(size int) batch

	// sorted begins a large batch, to which changes of keys are added in the order of the keys, one a key; nil: it is to be
	// one of batch's.
	sorted() (batch, error)

	// scan returns the entries from lo on and before hi, in order; hi nil is no bound. Keys and values are valid until
	// the next one.
	scan(lo, hi []byte) iter.Seq2[pair, error]

	// visit hands the entries that scan returns to v, until that wants no more.
	visit(lo, hi []byte, v visitor) error

	// scanBackward returns what scan does, in the opposite order.
	scanBackward(lo, hi []byte) iter.Seq2[pair, error]

	// reader returns an engine for another goroutine, to read what was applied to this one, which must be shared (see
	// Config) and be closed later. refresh lets a reader see what was applied since, and says whether there was anything.
	reader() engine
	refresh() bool

	// settle lets what was applied reach the disk soon, without waiting for more.
	settle() error

	// empty removes everything.
	empty() error

	close() error
}

// A visitor looks at entries of an engine. Their bytes are valid during the call.
type visitor interface {
	visited(key, value []byte) (more bool, err error)
}

// batch collects changes for an engine.
type batch interface {
	set(key, value []byte) error
	remove(key []byte) error
	removeRange(lo, hi []byte) error
	apply() error
}

// pair is a key with its value.
type pair struct{ key, value []byte }
