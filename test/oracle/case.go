// Package oracle runs cases through Millrace and compares what they did with what Java Kafka Streams did.
//
// A case is a topology and its inputs, one JSON object a line; java/Oracle.java defines each step and each named
// function, by being the program that judges them. Here the same cases are interpreted on the public DSL, with types
// that show nulls, where Java's semantics hold exactly.
package oracle

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/streams"
	"github.com/millrace/millrace/streamstest"
	"github.com/millrace/millrace/topology"
)

// Case is a topology and its inputs.
type Case struct {
	ID            string            `json:"id"`
	ApplicationID string            `json:"applicationId"`
	Steps         []Step            `json:"steps"`
	Inputs        []Input           `json:"inputs"`
	StartMs       int64             `json:"startMs"`
	Config        map[string]string `json:"config"`
}

// Step is one call of the DSL: it makes ID of From (and With).
type Step struct {
	Op        string   `json:"op"`
	ID        string   `json:"id"`
	From      string   `json:"from"`
	With      string   `json:"with"`
	Topic     string   `json:"topic"`
	Value     string   `json:"value"`
	Fn        string   `json:"fn"`
	KeyFn     string   `json:"keyFn"`
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	Type      string   `json:"type"`
	SizeMs    int64    `json:"sizeMs"`
	AdvanceMs int64    `json:"advanceMs"`
	GraceMs   *int64   `json:"graceMs"`
	Emit      string   `json:"emit"`
	Store     *Store   `json:"store"`
	Branches  []Branch `json:"branches"`
	Default   string   `json:"default"`

	BeforeMs   int64  `json:"beforeMs"`
	AfterMs    int64  `json:"afterMs"`
	Until      string `json:"until"`
	MS         int64  `json:"ms"`
	MaxRecords *int64 `json:"maxRecords"`
	Parts      []Part `json:"parts"`
	Window     *Step  `json:"window"`
	EveryMs    int64  `json:"everyMs"`
	Clock      string `json:"clock"`

	TopicFn     string `json:"topicFn"`
	PartitionFn string `json:"partitionFn"`
	Connect     bool   `json:"connect"`
	Uses        string `json:"uses"`
	Pattern     string `json:"pattern"`
}

// Part is one of the groups of a cogroup.
type Part struct {
	From string `json:"from"`
	Tag  string `json:"tag"`
}

// Store is a step's materialization.
type Store struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	VersionedMs *int64 `json:"versionedMs"`
	LRU         int    `json:"lru"`
	Timestamped bool   `json:"timestamped"`
	RetentionMs *int64 `json:"retentionMs"`
	Caching     *bool  `json:"caching"`
	Logging     *bool  `json:"logging"`
}

// Branch is a branch of a split.
type Branch struct {
	ID string `json:"id"`
	Fn string `json:"fn"`
}

// Input is a record, or an advance of the wall clock.
type Input struct {
	Topic     string          `json:"topic"`
	Key       json.RawMessage `json:"key"`
	Value     json.RawMessage `json:"value"`
	TS        int64           `json:"ts"`
	Headers   [][2]*string    `json:"headers"`
	AdvanceMs *int64          `json:"advanceMs"`
}

// Result is what became of a case.
type Result struct {
	ID          string              `json:"id"`
	Describe    string              `json:"describe"`
	Topics      map[string][]Record `json:"topics"`
	Dropped     int                 `json:"dropped"`
	InputErrors []string            `json:"inputErrors"`
	Error       string              `json:"error,omitempty"`
}

// Record is a record of a topic, its bytes in hexadecimal.
type Record struct {
	K  *string      `json:"k"`
	V  *string      `json:"v"`
	TS int64        `json:"ts"`
	H  [][2]*string `json:"h,omitempty"`
}

func (r Record) String() string {
	null := func(s *string) string {
		if s == nil {
			return "null"
		}
		return *s
	}
	s := fmt.Sprintf("%s=%s@%d", null(r.K), null(r.V), r.TS)
	for _, h := range r.H {
		s += fmt.Sprintf(" %s:%s", null(h[0]), null(h[1]))
	}
	return s
}

// ErrUnsupported says that a case has a step that this version of Millrace does not have.
var ErrUnsupported = errors.New("not in this version")

// Run runs a case. The error is ErrUnsupported; what Millrace refuses is in the result, as what Java refuses is.
func Run(c *Case, opts ...streamstest.Option) (*Result, error) {
	return run(c, func(*streamstest.Driver, int) error { return nil }, opts)
}

// run runs a case; after is called after each input, with how many have been sent.
func run(c *Case, after func(d *streamstest.Driver, sent int) error, opts []streamstest.Option) (*Result, error) {
	res := &Result{ID: c.ID, Topics: map[string][]Record{}}
	t, err := build(c)
	if err != nil {
		if errors.Is(err, ErrUnsupported) {
			return nil, err
		}
		res.Error = err.Error()
		return res, nil
	}
	res.Describe = t.Describe()
	application := c.ApplicationID
	if application == "" {
		application = "app"
	}
	var topics []string // that patterns may match
	for _, in := range c.Inputs {
		if in.Topic != "" && !slices.Contains(topics, in.Topic) {
			topics = append(topics, in.Topic)
		}
	}
	opts = append([]streamstest.Option{
		streamstest.Topics(topics...),
		streamstest.Application(application), streamstest.StartAt(time.UnixMilli(c.StartMs)), streamstest.EmitInterval(0),
	}, opts...)
	d, err := streamstest.Open(t, opts...)
	if err != nil {
		res.Error = err.Error()
		return res, nil
	}
	defer d.Close()
	for i, in := range c.Inputs {
		if err := errors.Join(feed(d, in), after(d, i+1)); err != nil {
			res.InputErrors = append(res.InputErrors, fmt.Sprintf("%d: %v", i, err))
		}
	}
	for _, topic := range d.Topics() {
		for _, r := range d.Produced(topic) {
			res.Topics[topic] = append(res.Topics[topic], record(r))
		}
	}
	res.Dropped = d.Dropped()
	return res, nil
}

// build makes the topology of a case.
func build(c *Case) (*topology.Topology, error) {
	b := &interpreter{b: streams.NewBuilder(), made: map[string]any{}}
	for _, s := range c.Steps {
		if err := b.apply(&s); err != nil {
			return nil, fmt.Errorf("case %s: step %s %q: %w", c.ID, s.ID, s.Op, err)
		}
	}
	for _, add := range b.later {
		add()
	}
	var opts []streams.BuildOption
	if c.Config["topology.optimization"] == "all" {
		opts = append(opts, streams.Optimize())
	}
	return b.b.Build(opts...)
}

func feed(d *streamstest.Driver, in Input) error {
	if in.AdvanceMs != nil {
		return d.Advance(time.Duration(*in.AdvanceMs) * time.Millisecond)
	}
	key, err := bytesOf(in.Key)
	if err != nil {
		return err
	}
	value, err := bytesOf(in.Value)
	if err != nil {
		return err
	}
	r := topology.Record{Topic: in.Topic, Timestamp: in.TS, Key: key, Value: value}
	for _, h := range in.Headers {
		header := topology.Header{Key: *h[0]}
		if h[1] != nil {
			header.Value = []byte(*h[1])
		}
		r.Headers = append(r.Headers, header)
	}
	return d.Pipe(r)
}

// bytesOf encodes a JSON value: a string is its UTF-8 bytes, an integer an 8-byte long, null is null.
func bytesOf(raw json.RawMessage) ([]byte, error) {
	var v any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, err
		}
	}
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []byte(v), nil
	case float64:
		return binary.BigEndian.AppendUint64(nil, uint64(int64(v))), nil
	}
	return nil, fmt.Errorf("an input is %s", raw)
}

func record(r topology.Record) Record {
	text := func(b []byte) *string {
		if b == nil {
			return nil
		}
		s := hex.EncodeToString(b)
		return &s
	}
	out := Record{K: text(r.Key), V: text(r.Value), TS: max(0, r.Timestamp)} // none is 0 in the judge's driver
	for _, h := range r.Headers {
		out.H = append(out.H, [2]*string{&h.Key, text(h.Value)})
	}
	return out
}

// Compare returns the first difference between what Java did and what Millrace did; empty: there is none.
func Compare(java, got *Result) string {
	if strings.Contains(java.Error, "has no access to StateStore") && got.Error == "" {
		return "" // a table that a function computes with a store can be read by others here, see COMPATIBILITY.md
	}
	if java.Error != "" || got.Error != "" {
		if java.Error == "" || got.Error == "" {
			return fmt.Sprintf("error\n  java: %s\n  here: %s", java.Error, got.Error)
		}
		return ""
	}
	if a, b := normal(java.Describe), normal(got.Describe); a != b {
		return fmt.Sprintf("describe\n  java:\n%s\n  here:\n%s", java.Describe, got.Describe)
	}
	if miscast(java) && len(got.InputErrors) == 0 {
		return ""
	}
	if len(java.InputErrors) != len(got.InputErrors) {
		return fmt.Sprintf("input errors\n  java: %q\n  here: %q", java.InputErrors, got.InputErrors)
	}
	names := map[string]bool{}
	for t := range java.Topics {
		names[t] = true
	}
	for t := range got.Topics {
		names[t] = true
	}
	sorted := make([]string, 0, len(names))
	for t := range names {
		sorted = append(sorted, t)
	}
	slices.Sort(sorted)
	for _, t := range sorted {
		a, b := java.Topics[t], got.Topics[t]
		if buffered(a) { // what a commit writes of a buffer is in the order of a hash set there
			a, b = byKey(a), byKey(b)
		}
		for i := range max(len(a), len(b)) {
			x, y := "nothing", "nothing"
			if i < len(a) {
				x = a[i].String()
			}
			if i < len(b) {
				y = b[i].String()
			}
			if x != y {
				return fmt.Sprintf("topic %s record %d\n  java: %s\n  here: %s", t, i, x, y)
			}
		}
	}
	if java.Dropped != got.Dropped {
		return fmt.Sprintf("dropped records\n  java: %d\n  here: %d", java.Dropped, got.Dropped)
	}
	return ""
}

var extractor = regexp.MustCompile(`\(extractor class: .*\)`)

// normal brings a description into an order that does not depend on hash codes: nodes by name within their
// sub-topology, and the names behind an arrow sorted.
func normal(describe string) string {
	var out []string
	describe = extractor.ReplaceAllString(describe, "(extractor class)") // its name is another in each run of Java
	for _, part := range strings.Split(describe, "Sub-topology: ") {
		lines := strings.Split(part, "\n")
		var nodes []string
		for _, line := range lines[1:] {
			text := strings.TrimSpace(line)
			switch {
			case strings.HasPrefix(text, "-->"), strings.HasPrefix(text, "<--"):
				names := strings.Split(text[4:], ", ")
				slices.Sort(names)
				nodes[len(nodes)-1] += " " + text[:3] + " " + strings.Join(names, ", ")
			case text != "":
				nodes = append(nodes, text)
			}
		}
		slices.Sort(nodes)
		out = append(out, lines[0]+"\n"+strings.Join(nodes, "\n"))
	}
	return strings.Join(out, "\n--\n")
}

// miscast says whether Java fell back to its default serde, which is that of another type. Here the type has its own
// (see COMPATIBILITY.md, a missing serde), and so there is nothing to compare.
func miscast(java *Result) bool {
	return slices.ContainsFunc(java.InputErrors, func(e string) bool { return strings.Contains(e, "ClassCastException") })
}

// buffered says whether a topic is the changelog of a buffer of changes: its records have a version.
func buffered(records []Record) bool {
	return slices.ContainsFunc(records, func(r Record) bool { return len(r.H) == 1 && *r.H[0][0] == "v" })
}

// byKey returns records ordered by key, those of one key as they were.
func byKey(records []Record) []Record {
	sorted := slices.Clone(records)
	slices.SortStableFunc(sorted, func(a, b Record) int { return strings.Compare(*a.K, *b.K) })
	return sorted
}
