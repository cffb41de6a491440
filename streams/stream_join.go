package streams

import (
	"context"
	"maps"
	"math"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// JoinWindows say how far apart records of two streams may be to be joined. Make them with [Within].
type JoinWindows struct{ before, after, grace time.Duration }

// Within joins records that are at most so far apart, whichever is first; 0 joins those of one timestamp. Java:
// JoinWindows.ofTimeDifferenceWithNoGrace.
func Within(difference time.Duration) JoinWindows {
	return JoinWindows{before: difference, after: difference}
}

// Before sets how much earlier a record of the other stream may be. It may be negative: then it has to be so much later.
func (w JoinWindows) Before(d time.Duration) JoinWindows {
	w.before = d
	return w
}

// After sets how much later a record of the other stream may be. It may be negative: then it has to be so much earlier.
func (w JoinWindows) After(d time.Duration) JoinWindows {
	w.after = d
	return w
}

// Grace sets how late records may come, 0 by default: records are kept for a partner for the windows' size plus grace
// behind the greatest timestamp, and an outer join waits so long with those that have none.
func (w JoinWindows) Grace(grace time.Duration) JoinWindows {
	w.grace = grace
	return w
}

// check reports what is wrong with the windows, and returns windows that can be used.
func (w JoinWindows) check(b *Builder, verb string) JoinWindows {
	for _, d := range []time.Duration{w.before, w.after, w.grace} {
		if d%time.Millisecond != 0 {
			b.fail("%s: its windows are given %v; they are measured in whole milliseconds", verb, d)
			return JoinWindows{}
		}
	}
	const most = math.MaxInt64 / 4
	switch {
	case w.before < -most || w.before > most || w.after < -most || w.after > most || w.grace > most:
		b.fail("%s: its windows reach from %v before to %v after, with a grace period of %v; each can be %v", verb, w.before, w.after, w.grace, time.Duration(most))
	case w.before+w.after < 0:
		b.fail("%s: its windows begin %v before a record and end %v after it, which is earlier", verb, w.before, w.after)
	case w.grace < 0:
		b.fail("%s: its windows have the grace period %v; it cannot be negative", verb, w.grace)
	default:
		return w
	}
	return JoinWindows{}
}

// Join joins records of two streams that have the same key and are close in time: for each such pair join(value, other)
// is sent on, with the greater of both timestamps. A null key or value is dropped, counted. The streams must have the same
// number of partitions; one whose key a verb before it changed is repartitioned.
//
// Options: As names the stores, <name>-this-join-store and so on; Named names the nodes and the repartition topics,
// <name>-left and <name>-right; InMemory, OnDisk, Unlogged and LogConfig are about the stores; WithKey, WithValue and WithOther
// set the serdes. Java: KStream.join. Names: KSTREAM-WINDOWED-n, KSTREAM-JOINTHIS-n, KSTREAM-JOINOTHER-n, KSTREAM-MERGE-n.
func (s *Stream[K, V]) Join[V2, R any](other *Stream[K, V2], w JoinWindows, join func(value V, other V2) R, opts ...Option) *Stream[K, R] {
	s.b.function("Join", join)
	return streamJoin(s, other, "Join", w, false, false, func(_ context.Context, _ K, a V, _ bool, b V2, _ bool) (R, error) { return join(a, b), nil }, opts)
}

// TryJoin is [Stream.Join] with a context, the key and an error.
func (s *Stream[K, V]) TryJoin[V2, R any](other *Stream[K, V2], w JoinWindows, join func(ctx context.Context, key K, value V, other V2) (R, error), opts ...Option) *Stream[K, R] {
	s.b.function("TryJoin", join)
	return streamJoin(s, other, "Join", w, false, false, func(ctx context.Context, k K, a V, _ bool, b V2, _ bool) (R, error) { return join(ctx, k, a, b) }, opts)
}

// LeftJoin is [Stream.Join] in which each record of the first stream is joined: one without a partner with null, once its
// window has closed; it is looked for at most once a second. A record without a key has no partner.
//
// Java: KStream.leftJoin, KIP-633 and KIP-962. Names: KSTREAM-WINDOWED-n, KSTREAM-JOINTHIS-n, KSTREAM-OUTEROTHER-n,
// KSTREAM-MERGE-n; a store KSTREAM-OUTERSHARED-n-store beside.
func (s *Stream[K, V]) LeftJoin[V2, R any, O OptValue[V2]](other *Stream[K, V2], w JoinWindows, join func(value V, other O) R, opts ...Option) *Stream[K, R] {
	s.b.function("LeftJoin", join)
	return streamJoin(s, other, "LeftJoin", w, true, false, func(_ context.Context, _ K, a V, _ bool, b V2, has bool) (R, error) {
		return join(a, O(optional(b, has))), nil
	}, opts)
}

// TryLeftJoin is [Stream.LeftJoin] with a context, the key and an error.
func (s *Stream[K, V]) TryLeftJoin[V2, R any, O OptValue[V2]](other *Stream[K, V2], w JoinWindows, join func(ctx context.Context, key K, value V, other O) (R, error), opts ...Option) *Stream[K, R] {
	s.b.function("TryLeftJoin", join)
	return streamJoin(s, other, "LeftJoin", w, true, false, func(ctx context.Context, k K, a V, _ bool, b V2, has bool) (R, error) {
		return join(ctx, k, a, O(optional(b, has)))
	}, opts)
}

// OuterJoin is [Stream.LeftJoin] in which each record of either stream is joined.
//
// Java: KStream.outerJoin. Names: KSTREAM-WINDOWED-n, KSTREAM-OUTERTHIS-n, KSTREAM-OUTEROTHER-n, KSTREAM-MERGE-n; a store
// KSTREAM-OUTERSHARED-n-store beside.
func (s *Stream[K, V]) OuterJoin[V2, R any, O OptValue[V], O2 OptValue[V2]](other *Stream[K, V2], w JoinWindows, join func(value O, other O2) R, opts ...Option) *Stream[K, R] {
	s.b.function("OuterJoin", join)
	return streamJoin(s, other, "OuterJoin", w, true, true, func(_ context.Context, _ K, a V, hasA bool, b V2, hasB bool) (R, error) {
		return join(O(optional(a, hasA)), O2(optional(b, hasB))), nil
	}, opts)
}

// TryOuterJoin is [Stream.OuterJoin] with a context, the key and an error.
func (s *Stream[K, V]) TryOuterJoin[V2, R any, O OptValue[V], O2 OptValue[V2]](other *Stream[K, V2], w JoinWindows, join func(ctx context.Context, key K, value O, other O2) (R, error), opts ...Option) *Stream[K, R] {
	s.b.function("TryOuterJoin", join)
	return streamJoin(s, other, "OuterJoin", w, true, true, func(ctx context.Context, k K, a V, hasA bool, b V2, hasB bool) (R, error) {
		return join(ctx, k, O(optional(a, hasA)), O2(optional(b, hasB)))
	}, opts)
}

func streamJoin[K, V, V2, R any](s *Stream[K, V], other *Stream[K, V2], verb string, w JoinWindows, left, right bool, join func(context.Context, K, V, bool, V2, bool) (R, error), opts []Option) *Stream[K, R] {
	b := s.b
	o := b.options(verb, opts, nameOption|nodeNameOption|storeOption|keyOption|valueOption|otherOption)
	if other == nil || other.b != b {
		b.fail("%s takes a stream of the same Builder", verb)
		return &Stream[K, R]{b: b, step: s.step, name: s.name, key: s.key, sources: s.sources}
	}
	w = w.check(b, verb)
	j := node.StreamJoin[K, V, V2, R]{
		Join:   join,
		Key:    serdeFor(b, given(b, verb, o.key, s.key), "key", "streams.WithKey"),
		A:      serdeFor(b, given(b, verb, o.value, s.value), "value", "streams.WithValue"),
		B:      serdeFor(b, given(b, verb, o.other, other.value), "value of the other stream", "streams.WithOther"),
		OuterA: left, OuterB: right, Before: w.before.Milliseconds(), After: w.after.Milliseconds(), Grace: w.grace.Milliseconds(),
	}
	if s.repartition {
		s = s.repartitionAs(orElse(suffixed(o.node, "-left"), s.name), j.Key, j.A)
	}
	if other.repartition {
		other = other.repartitionAs(orElse(suffixed(o.node, "-right"), other.name), j.Key, j.B)
	}
	n := joinNames(b, o, left, right)
	j.StoreA, j.StoreB, j.Alone = n.store, n.otherStore, n.alone
	sources := union(s.sources, other.sources)
	b.together = append(b.together, sources)
	this := b.add(s.step, windowStep(n.windowed, o.joinSpec(n.store, w), node.JoinWindow(n.windowed, n.store, j.Key, j.A)))
	that := b.add(other.step, windowStep(n.otherWindowed, o.joinSpec(n.otherStore, w), node.JoinWindow(n.otherWindowed, n.otherStore, j.Key, j.B)))
	st := b.add(s.step, joinStep(n, j, o.aloneSpec(n.alone), this, that, w))
	b.add(other.step, st)
	joined := made(s, st, s.key, serde.Serde[R](nil), false)
	joined.sources = sources
	return joined
}

// windowStep is the step that keeps the records of one side.
func windowStep(name string, spec *state.Spec, make topology.NewFunc) *step {
	return aggregation(name, make, func(t *topology.Builder, user string) { t.AddStore(spec, user) })
}

// joinStep is the step of both sides and what merges them, or of the one node of a stream that is joined with itself.
func joinStep[K, V, V2, R any](n joinNaming, j node.StreamJoin[K, V, V2, R], alone *state.Spec, this, that *step, w JoinWindows) *step {
	st := &step{name: n.merge, keepsNullKeys: j.OuterA}
	if _, same := any(j).(node.StreamJoin[K, V, V, R]); same {
		st.selfJoin = &selfJoin{this: this, other: that}
	}
	st.write = func(t *topology.Builder, _ []string) {
		if st.selfJoin != nil && st.selfJoin.chosen {
			own := any(j).(node.StreamJoin[K, V, V, R])
			t.AddProcessor(n.merge, node.SelfJoin(n.merge, own, (w.before+w.after+w.grace).Milliseconds()), this.name)
			t.Connect(n.merge, n.store)
			return
		}
		t.AddProcessor(n.this, node.JoinThis(n.this, j), this.name)
		t.Connect(n.this, n.otherStore)
		if n.alone != "" {
			t.AddStore(alone, n.this)
		}
		t.AddProcessor(n.other, node.JoinThis(n.other, j.Reversed()), that.name)
		t.Connect(n.other, n.store)
		if n.alone != "" {
			t.Connect(n.other, n.alone)
		}
		t.AddProcessor(n.merge, node.Pass[K, R](n.merge, nil), n.this, n.other)
	}
	return st
}

// joinNaming are the names of a join's nodes and stores (KStreamImplJoin).
type joinNaming struct {
	windowed, otherWindowed, this, other, merge string
	store, otherStore, alone                    string
}

func joinNames(b *Builder, o *settings, left, right bool) (n joinNaming) {
	thisPrefix, thisSuffix, otherPrefix, otherSuffix := "KSTREAM-JOINTHIS-", "-this-join", "KSTREAM-JOINOTHER-", "-other-join"
	if right {
		thisPrefix, thisSuffix = "KSTREAM-OUTERTHIS-", "-outer-this-join"
	}
	if left {
		otherPrefix, otherSuffix = "KSTREAM-OUTEROTHER-", "-outer-other-join"
	}
	n.windowed = b.nameOr(suffixed(o.node, "-this-windowed"), "KSTREAM-WINDOWED-")
	n.otherWindowed = b.nameOr(suffixed(o.node, "-other-windowed"), "KSTREAM-WINDOWED-")
	this, other := b.newName(thisPrefix), b.newName(otherPrefix)
	n.this, n.other = orElse(suffixed(o.node, thisSuffix), this), orElse(suffixed(o.node, otherSuffix), other)
	n.merge = b.nameOr(suffixed(o.node, "-merge"), "KSTREAM-MERGE-")
	n.store = orElse(suffixed(o.name, thisSuffix), this) + "-store"
	n.otherStore = orElse(suffixed(o.name, otherSuffix), other) + "-store"
	switch {
	case !left:
	case o.name == "":
		n.alone = "KSTREAM-OUTERSHARED-" + strings.TrimPrefix(this, thisPrefix) + "-store"
	case right:
		n.alone = o.name + "-outer-shared-join-store"
	default:
		n.alone = o.name + "-left-shared-join-store"
	}
	return n
}

func orElse(name, other string) string {
	if name == "" {
		return other
	}
	return name
}

// joinSpec describes the store of one side: its changelog is not compacted, as no record takes the place of another.
func (s *settings) joinSpec(name string, w JoinWindows) *state.Spec {
	spec := s.spec(name, state.Window)
	spec.Timestamped, spec.Cached, spec.Duplicates, spec.LogHeaders = false, false, true, true
	spec.WindowSize, spec.Retention = w.before+w.after, w.before+w.after+w.grace
	spec.LogConfig = maps.Clone(spec.LogConfig)
	if spec.LogConfig == nil {
		spec.LogConfig = map[string]string{}
	}
	spec.LogConfig["cleanup.policy"] = "delete"
	return spec
}

// aloneSpec describes the store of records without a partner.
func (s *settings) aloneSpec(name string) *state.Spec {
	spec := s.spec(name, state.KeyValue)
	spec.Timestamped, spec.Cached = false, false
	return spec
}
