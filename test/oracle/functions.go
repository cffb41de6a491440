package oracle

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/millrace/millrace/streams"
)

// The functions that cases name, on values that are nil, a string, an int64 or a windowed key.

type (
	optString = streams.Opt[string]
	optLong   = streams.Opt[int64]
	windowed  = streams.Windowed[optString]
)

// toAny returns a typed value as a plain one.
func toAny[T any](v T) any {
	switch v := any(v).(type) {
	case optString:
		if v.Valid {
			return v.Value
		}
		return nil
	case optLong:
		if v.Valid {
			return v.Value
		}
		return nil
	}
	return v
}

// fromAny returns a plain value as a typed one.
func fromAny[T any](v any) T {
	var t T
	switch p := any(&t).(type) {
	case *optString:
		if v != nil {
			*p = streams.Some(v.(string))
		}
	case *optLong:
		if v != nil {
			*p = streams.Some(v.(int64))
		}
	default:
		t = v.(T)
	}
	return t
}

// text prints as Java's String.valueOf.
func text(v any) string {
	if v == nil {
		return "null"
	}
	return fmt.Sprint(v)
}

func predicate(fn string, k, v any) bool {
	switch fn {
	case "even":
		return v != nil && v.(int64)%2 == 0
	case "positive":
		return v != nil && v.(int64) > 0
	case "lenEven":
		return v != nil && len(v.(string))%2 == 0
	case "notNull":
		return v != nil
	case "keyAtoC":
		return k != nil && text(k) < "d"
	}
	panic("predicate " + fn)
}

func value(fn string, v any) any {
	if v == nil {
		if fn == "orNull" {
			return "null"
		}
		return nil
	}
	switch fn {
	case "inc":
		return v.(int64) + 1
	case "neg":
		return -v.(int64)
	case "str", "orNull":
		return text(v)
	case "len":
		return int64(len(v.(string)))
	case "tail":
		s := v.(string)
		return s[max(0, len(s)-3):]
	case "oddToNull":
		if v.(int64)%2 != 0 {
			return nil
		}
		return v
	}
	panic("value " + fn)
}

func valueIsLong(fn string) bool {
	return fn == "inc" || fn == "neg" || fn == "len" || fn == "oddToNull"
}

func newKey(fn string, k, v any) any {
	switch fn {
	case "const":
		return "c"
	case "value":
		if v == nil {
			return nil
		}
		return text(v)
	case "mod3":
		if v == nil {
			return "n"
		}
		return "m" + strconv.FormatInt((v.(int64)%3+3)%3, 10)
	case "first":
		if v == nil || v.(string) == "" {
			return "n"
		}
		return v.(string)[:1]
	case "keyValue":
		return text(k) + "-" + text(v)
	case "window":
		w := k.(windowed)
		return fmt.Sprintf("%v@%d/%d", w.Key, w.Window.Start, w.Window.End)
	}
	panic("key " + fn)
}

func many(fn string, v any) []any {
	if v == nil {
		return nil
	}
	switch fn {
	case "twice":
		return []any{v, v}
	case "plus100":
		return []any{v, v.(int64) + 100}
	case "none":
		return nil
	case "chars":
		var out []any
		for _, c := range strings.Split(v.(string), "") {
			out = append(out, c)
		}
		return out
	}
	panic("many " + fn)
}

func zero(fn string) any {
	if fn == "sum" {
		return int64(0)
	}
	return ""
}

func long(v any) int64 {
	if v == nil {
		return 0
	}
	return v.(int64)
}

func add(fn string, v, acc any) any {
	switch fn {
	case "sum":
		return acc.(int64) + long(v)
	case "cat":
		return text(acc) + "+" + text(v)
	case "dropOdd": // forgets now and then
		if len(acc.(string))%4 == 3 {
			return nil
		}
		return text(acc) + "+" + text(v)
	}
	panic("add " + fn)
}

func subtract(fn string, v, acc any) any {
	if fn == "sum" {
		return acc.(int64) - long(v)
	}
	return text(acc) + "-" + text(v)
}

func combine(fn string, a, b any) any {
	switch fn {
	case "sum":
		return long(a) + long(b)
	case "max":
		switch {
		case a == nil:
			return b
		case b == nil:
			return a
		}
		return max(a.(int64), b.(int64))
	case "cat":
		return text(a) + "," + text(b)
	}
	panic("combine " + fn)
}

// separate takes b out of a in a reduction of a grouped table.
func separate(fn string, a, b any) any {
	if fn == "sum" {
		return long(a) - long(b)
	}
	return text(a) + "~" + text(b)
}
