package streams

import (
	"context"

	"github.com/millrace/millrace/internal/node"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topology"
)

// JoinOn joins the rows of a table with the rows of another one that they name: there is a row join(value, other) as long as
// there is a row of other with the key foreign(key, value). A change of either table changes the result. A row that names
// none - foreign returns a null [Opt] - has no result, and is counted as dropped. Rows travel to the partition of the key
// that they name and back, so the tables may have different numbers of partitions; a result that is overtaken by a change
// of its row is dropped, counted.
//
// Options: As names a store and keeps the result there; Named names the nodes, topics and the store of subscriptions;
// WithValue sets the result's serde. Java: KTable.join(KTable, keyExtractor, ...), KIP-213 and KIP-1104. Names:
// KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-n and so on, KTABLE-FK-JOIN-OUTPUT-n.
func (t *Table[K, V]) JoinOn[FK, V2, R any](other *Table[FK, V2], foreign func(key K, value V) FK, join func(value V, other V2) R, opts ...Option) *Table[K, R] {
	t.b.function("JoinOn", foreign, join)
	return foreignJoin(t, other, "JoinOn", node.ForeignJoin[K, V, FK, V2, R]{
		Extract: func(_ context.Context, k K, v V) (FK, error) { return foreign(k, v), nil },
		Join:    func(_ context.Context, _ K, v V, o V2, _ bool) (R, error) { return join(v, o), nil },
	}, opts)
}

// TryJoinOn is [Table.JoinOn] with contexts, the key and errors.
func (t *Table[K, V]) TryJoinOn[FK, V2, R any](other *Table[FK, V2], foreign func(ctx context.Context, key K, value V) (FK, error), join func(ctx context.Context, key K, value V, other V2) (R, error), opts ...Option) *Table[K, R] {
	t.b.function("TryJoinOn", foreign, join)
	return foreignJoin(t, other, "JoinOn", node.ForeignJoin[K, V, FK, V2, R]{
		Extract: foreign,
		Join:    func(ctx context.Context, k K, v V, o V2, _ bool) (R, error) { return join(ctx, k, v, o) },
	}, opts)
}

// LeftJoinOn is [Table.JoinOn] that has a result for each row of the first table: where there is no row that it names, or
// where it names none, it is joined with null.
//
// Java: KTable.leftJoin(KTable, keyExtractor, ...).
func (t *Table[K, V]) LeftJoinOn[FK, V2, R any, O OptValue[V2]](other *Table[FK, V2], foreign func(key K, value V) FK, join func(value V, other O) R, opts ...Option) *Table[K, R] {
	t.b.function("LeftJoinOn", foreign, join)
	return foreignJoin(t, other, "LeftJoinOn", node.ForeignJoin[K, V, FK, V2, R]{
		Left:    true,
		Extract: func(_ context.Context, k K, v V) (FK, error) { return foreign(k, v), nil },
		Join:    func(_ context.Context, _ K, v V, o V2, has bool) (R, error) { return join(v, O(optional(o, has))), nil },
	}, opts)
}

// TryLeftJoinOn is [Table.LeftJoinOn] with contexts, the key and errors.
func (t *Table[K, V]) TryLeftJoinOn[FK, V2, R any, O OptValue[V2]](other *Table[FK, V2], foreign func(ctx context.Context, key K, value V) (FK, error), join func(ctx context.Context, key K, value V, other O) (R, error), opts ...Option) *Table[K, R] {
	t.b.function("TryLeftJoinOn", foreign, join)
	return foreignJoin(t, other, "LeftJoinOn", node.ForeignJoin[K, V, FK, V2, R]{
		Left:    true,
		Extract: foreign,
		Join: func(ctx context.Context, k K, v V, o V2, has bool) (R, error) {
			return join(ctx, k, v, O(optional(o, has)))
		},
	}, opts)
}

// foreignNames are the names of a foreign-key join (KTableImpl.doJoinOnForeignKey).
type foreignNames struct {
	topic, send, sink, source, store, keep, look, tell      string
	response, responseSink, responseSource, resolve, result string
}

func newForeignNames(b *Builder, named string) (n foreignNames) {
	const prefix = "KTABLE-FK-JOIN-"
	name := func(suffix, generated string) string { return b.nameOr(suffixed(named, suffix), generated) }
	n.topic = name("-subscription-registration", prefix+"SUBSCRIPTION-REGISTRATION-") + "-topic"
	n.send = name("-subscription-registration-processor", prefix+"SUBSCRIPTION-REGISTRATION-")
	n.sink = name("-subscription-registration-sink", "KTABLE-SINK-")
	n.source = name("-subscription-registration-source", "KTABLE-SOURCE-")
	n.store = name("-subscription-store", prefix+"SUBSCRIPTION-STATE-STORE-")
	n.keep = name("-subscription-receive", prefix+"SUBSCRIPTION-PROCESSOR-")
	n.look = name("-subscription-join-foreign", prefix+"SUBSCRIPTION-PROCESSOR-")
	n.tell = name("-foreign-join-subscription", prefix+"SUBSCRIPTION-PROCESSOR-")
	n.response = name("-subscription-response", prefix+"SUBSCRIPTION-RESPONSE-") + "-topic"
	n.responseSink = name("-subscription-response-sink", "KTABLE-SINK-")
	n.responseSource = name("-subscription-response-source", "KTABLE-SOURCE-")
	n.resolve = name("-subscription-response-resolver", prefix+"SUBSCRIPTION-RESPONSE-RESOLVER-PROCESSOR-")
	n.result = name("-result", prefix+"OUTPUT-")
	return n
}

func foreignJoin[K, V, FK, V2, R any](t *Table[K, V], other *Table[FK, V2], verb string, j node.ForeignJoin[K, V, FK, V2, R], opts []Option) *Table[K, R] {
	b := t.b
	o := b.options(verb, opts, tableOptions)
	if other == nil || other.b != b {
		b.fail("%s takes a table of the same Builder", verb)
		return &Table[K, R]{b: b, step: t.step, name: t.name, key: t.key, sources: t.sources, kept: &kept{above: t.kept}}
	}
	other.kept.enableOld(true)
	t.kept.enableOld(true)
	n := newForeignNames(b, o.node)
	kept := &kept{store: o.name, ifNeeded: b.storeName(o.name, "KTABLE-FK-JOIN-OUTPUT-"), history: o.history}
	j.Versioned, j.OtherVersioned = t.kept.isVersioned(), other.kept.isVersioned()
	j.Store = n.store
	j.Key = serdeFor(b, given(b, verb, o.key, t.key), "key", "streams.WithKey")
	j.Value = serdeFor(b, t.value, "value", "streams.WithValue of the first table")
	j.Foreign = serdeFor(b, other.key, "key of the other table", "streams.WithKey of it")
	value := given[R](b, verb, o.value, nil)
	otherValue := serdeFor(b, other.value, "value of the other table", "streams.WithValue of it")
	result := serdeFor(b, value, "value", "streams.WithValue")

	// To the row that is named: ...
	subscriptions, responses := node.SubscriptionSerde(), node.ResponseSerde(otherValue)
	source := b.sendAcross(b.add(t.step, processorStep(n.send, j.Send(n.send), nil)), nil, n.topic, n.sink, n.source,
		node.Sink(n.sink, n.topic, j.Foreign, subscriptions, nil), node.Source(n.source, 1, j.Foreign, subscriptions, failOnNegative[FK, node.Subscription]))
	stores := other.kept.readable()
	spec := &state.Spec{Name: n.store, Kind: state.KeyValue, Timestamped: true, Logged: true, LogHeaders: true}
	keep := b.add(source, aggregation(n.keep, j.Keep(n.keep), func(tb *topology.Builder, user string) { tb.AddStore(spec, user) }))
	look := b.add(keep, processorStep(n.look, j.Look(n.look, other.getter()), stores))
	tell := b.add(other.step, processorStep(n.tell, j.Tell(n.tell), []string{n.store}))
	b.together = append(b.together, union(other.sources, []string{n.source}))

	// ... and back.
	into := func(r node.Response[V2]) int32 { return r.Partition }
	back := b.sendAcross(look, tell, n.response, n.responseSink, n.responseSource,
		node.SinkInto(n.responseSink, n.response, j.Key, responses, into), node.Source(n.responseSource, 1, j.Key, responses, failOnNegative[K, node.Response[V2]]))
	sources := union(t.sources, []string{n.responseSource})
	b.together = append(b.together, sources)
	primary := t.kept.readable()
	resolve := b.add(back, processorStep(n.resolve, j.Resolve(n.resolve, t.getter()), primary))
	make := node.TableSource(n.result, node.TableStore[K, R]{Name: kept.storeName, Key: j.Key, Value: result, SendOld: kept.sendsOld})
	st := b.add(resolve, tableStep(n.result, make, o.spec(kept.ifNeeded, state.KeyValue), kept))
	return &Table[K, R]{
		b: b, step: st, name: n.result, key: j.Key, value: result, sources: sources, kept: kept,
		getter: func() node.GetterFunc[K, R] { return node.StoreGetter(kept.readable()[0], j.Key, result) },
	}
}

// processorStep is the step of a processor that reads stores of others.
func processorStep(name string, make topology.NewFunc, stores []string) *step {
	return &step{name: name, write: func(t *topology.Builder, parents []string) {
		t.AddProcessor(name, make, parents...)
		connect(t, name, stores)
	}}
}

// sendAcross adds an internal topic below one or two steps, and returns the step of the source that reads it.
func (b *Builder) sendAcross(above, too *step, topic, sink, source string, write, read topology.NewFunc) *step {
	st := b.add(above, &step{name: sink, write: func(t *topology.Builder, parents []string) {
		t.AddInternalTopic(topology.Internal{Name: topic})
		t.AddSink(sink, topic, write, parents...)
	}})
	if too != nil {
		b.add(too, st)
	}
	return b.add(st, &step{name: source, write: func(t *topology.Builder, _ []string) { t.AddSource(source, []string{topic}, read) }})
}
