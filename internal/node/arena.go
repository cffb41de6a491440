package node

import "github.com/millrace/millrace/serde"

// arena hands out bytes from chunks, so that most records allocate nothing. What was handed out is never reused: a
// chunk lives as long as the producer holds any part of it.
type arena struct {
	free []byte // its length is what was handed out
	last int    // the size of the last encoding, by which the next one is guessed
}

const chunk = 16 << 10

// encode returns the encoding of v in bytes of its own.
func encode[T any](a *arena, s serde.Serde[T], v T) ([]byte, error) {
	room := max(64, 2*a.last)
	if room > chunk/4 { // large values have their own memory
		out, err := s.Append(make([]byte, 0, room), v)
		a.last = len(out)
		return out[:len(out):len(out)], err
	}
	if cap(a.free)-len(a.free) < room {
		a.free = make([]byte, 0, chunk)
	}
	start := len(a.free)
	grown, err := s.Append(a.free, v)
	if err != nil {
		return nil, err
	}
	out := grown[start:len(grown):len(grown)]
	a.last = len(out)
	if len(grown) <= cap(a.free) {
		a.free = grown
	} else { // it did not fit: grown is new memory with a copy of the chunk in front, not worth keeping
		out = append(make([]byte, 0, len(out)), out...)
	}
	return out, nil
}
