package oracle

import (
	"fmt"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// transformValues interprets a table whose values a function makes of the rows of another, with a store at hand.
func transformValues[K, V any](b *interpreter, f aTable[K, V], s *Step, opts []streams.Option) (any, error) {
	from, ok := any(f).(aTable[optString, V])
	if !ok {
		return nil, fmt.Errorf("%w: transformValues on another key than a string", ErrUnsupported)
	}
	var calls *streams.KeyValueStore[optString, int64]
	if s.Fn == "counted" {
		calls = b.b.KeyValueStore(s.Uses, strings_, serde.Int64)
		opts = append(opts, streams.Uses(calls))
	}
	opts = append(opts, streams.WithValue(strings_))
	return aTable[optString, optString]{from.TransformValues(func(ctx *streams.Context[optString, optString]) (func(optString, V) (optString, error), error) {
		t := transform{fn: s.Fn}
		if calls != nil {
			var err error
			if t.calls, err = calls.Open(ctx); err != nil {
				return nil, err
			}
		}
		return func(k optString, v V) (optString, error) { return t.of(k, toAny(v)) }, nil
	}, opts...)}, nil
}

// transform marks a value ("mark"), names its row ("keyed"), or says how often it was called for the row ("counted").
type transform struct {
	fn    string
	calls *streams.KeyValues[optString, int64]
}

func (t *transform) of(k optString, v any) (made optString, err error) {
	switch {
	case t.fn == "keyed":
		return streams.Some(text(toAny(k)) + ":" + text(v)), nil
	case t.fn == "mark" && v == nil:
		return made, nil
	case t.fn == "mark":
		return streams.Some(text(v) + "!"), nil
	}
	n, _, err := t.calls.Get(k)
	if err == nil {
		err = t.calls.Put(k, n+1)
	}
	return streams.Some(fmt.Sprintf("%s#%d", text(v), n+1)), err
}
