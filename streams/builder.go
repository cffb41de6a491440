package streams

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// Builder collects a program: sources, verbs and sinks. Its methods and those of the streams and tables that it makes
// never panic and return no error; Build returns all that is wrong, with the file and line of each offending call.
//
// The order of calls matters: names are numbered in it, and names are what state is found by after a restart. Name the
// stateful verbs (see [As]) and the numbers do not matter.
type Builder struct {
	index        int // the next number of a generated name
	root         *step
	nextPriority int
	keyChangers  []*step
	merges       []*step
	together     [][]string // sources of joined streams and tables
	errs         []error
}

// NewBuilder returns an empty program.
func NewBuilder() *Builder { return &Builder{root: &step{name: "root", priority: -1}} }

// A BuildOption changes how Build makes a topology.
type BuildOption func(*buildOptions)

type buildOptions struct{ reuseSources, mergeRepartitions, selfJoins bool }

// Optimize lets Build rewrite the program (Java: topology.optimization=all): the input topics of tables serve as their
// changelogs, several repartitions behind one change of key become one, and a stream that is joined with itself is kept
// once. It changes names of internal topics, so that switching it on or off needs a reset of the application.
func Optimize() BuildOption {
	return func(o *buildOptions) { o.reuseSources, o.mergeRepartitions, o.selfJoins = true, true, true }
}

// Build checks the program and returns its topology, or all errors joined. A Builder builds once.
func (b *Builder) Build(opts ...BuildOption) (*topology.Topology, error) {
	var o buildOptions
	for _, opt := range opts {
		opt(&o)
	}
	b.mergeSources()
	if len(b.root.children) == 0 {
		b.errs = append(b.errs, errors.New("streams: the program reads no topic; begin with Stream or Table"))
	}
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	if o.reuseSources {
		b.reuseSourceTopics()
	}
	if o.mergeRepartitions {
		if b.mergeRepartitions(); len(b.errs) > 0 {
			return nil, errors.Join(b.errs...)
		}
	}
	if o.selfJoins {
		b.joinOnce()
	}
	b.dropNullKeys()
	var t topology.Builder
	b.writeAll(&t)
	for _, sources := range b.together {
		t.Copartition(sources)
	}
	return t.Build()
}

// newName returns the next generated name: a prefix and ten digits.
func (b *Builder) newName(prefix string) string {
	b.index++
	return fmt.Sprintf("%s%010d", prefix, b.index-1)
}

// nameOr returns the name that was given, or a generated one. A number is used up either way, so that naming a verb
// does not rename those after it (NamedInternal.orElseGenerateWithPrefix).
func (b *Builder) nameOr(given, prefix string) string {
	generated := b.newName(prefix)
	if given != "" {
		return given
	}
	return generated
}

var generatedName = regexp.MustCompile(`^KSTREAM.*-[0-9]{10}$`)

const repartitionSuffix = "-repartition"

// repartitionNames returns the names of the three nodes of a repartition. Three numbers are used up; the generated
// names serve only where the topic's name is generated as well (KStreamImpl.createRepartitionedSource).
func (b *Builder) repartitionNames(prefix string) (sink, filter, source string) {
	sink, filter, source = b.newName("KSTREAM-SINK-"), b.newName("KSTREAM-FILTER-"), b.newName("KSTREAM-SOURCE-")
	if !generatedName.MatchString(prefix) {
		topic := repartitionTopic(prefix)
		sink, filter, source = topic+"-sink", topic+"-filter", topic+"-source"
	}
	return sink, filter, source
}

func repartitionTopic(prefix string) string {
	if strings.HasSuffix(prefix, repartitionSuffix) {
		return prefix
	}
	return prefix + repartitionSuffix
}

// fail keeps an error with the place of the program's call.
func (b *Builder) fail(format string, args ...any) { b.failAt(caller(), format, args...) }

// failAt keeps an error with a place, once.
func (b *Builder) failAt(place, format string, args ...any) {
	err := fmt.Errorf("streams: "+format+" (%s)", append(args, place)...)
	if !slices.ContainsFunc(b.errs, func(e error) bool { return e.Error() == err.Error() }) {
		b.errs = append(b.errs, err)
	}
}

// function reports functions that a verb is given as nil.
func (b *Builder) function(verb string, functions ...any) {
	for _, f := range functions {
		if reflect.ValueOf(f).IsNil() {
			b.fail("%s is given no function", verb)
		}
	}
}

// caller returns the file and line outside this package that called into it.
func caller() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "github.com/millrace/millrace/streams.") || strings.HasSuffix(f.File, "_test.go") {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		if !more {
			return "unknown place"
		}
	}
}

// serdeFor returns given, or the serde of a primitive type, or reports that there is none.
func serdeFor[T any](b *Builder, given serde.Serde[T], what, option string) serde.Serde[T] {
	if serde.KeepsHeaders(given) {
		b.fail("serde.KeepHeaders is for the values of stores of the program; here the %s is that of a topic or of a table, and needs a plain serde", what)
	}
	if given != nil {
		return given
	}
	if s, ok := serde.Of[T](); ok {
		return s
	}
	t := reflect.TypeFor[T]()
	b.fail("no serde for the %s type %v; pass %s(serde.JSON[%v]()) or another serde of it", what, t, option, t)
	return serde.JSON[T]()
}

// carried returns the serde of a value that a verb made: the one before it where the type has not changed.
func carried[T, T2 any](s serde.Serde[T]) serde.Serde[T2] {
	if same, ok := any(s).(serde.Serde[T2]); ok {
		return same
	}
	return nil
}

func typesOf[K, V any]() string {
	return fmt.Sprintf("%v and %v", reflect.TypeFor[K](), reflect.TypeFor[V]())
}

// union returns the names of both lists, once each.
func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
