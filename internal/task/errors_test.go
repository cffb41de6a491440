package task

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/topology"
)

func always(d Decision) func(*Failure) Decision { return func(*Failure) Decision { return d } }

// run gives the task records of topic a and processes them; the error is the first one of either.
func (b *bench) run(values ...string) error {
	var records []topology.Record
	for i, v := range values {
		r := rec("a", int64(i), int64(i+1), v)
		r.Headers = []topology.Header{{Key: "h", Value: []byte("1")}}
		records = append(records, r)
	}
	if err := b.Add("a", records); err != nil {
		return err
	}
	_, err := b.Process(1000, start)
	return err
}

func TestUndecodableRecordsFail(t *testing.T) {
	b := open(t, Config{MaxIdle: -1}, "a")
	err := b.run("one", "bad", "two")
	var f *Failure
	if !errors.As(err, &f) || f.Node != "source-0" || f.Record.Offset != 1 {
		t.Fatalf("the error is %#v", err)
	}
	var d *topology.DecodeError
	if !errors.As(err, &d) || d.Part != "value" {
		t.Errorf("the error is of no decoder: %v", err)
	}
	if want := `task 0_3: node "source-0": topic "a" partition 3 offset 1: decoding the value: bad bytes`; err.Error() != want {
		t.Errorf("the error is\n%v, want\n%v", err, want)
	}
	if got := b.Offsets()["a"].Offset; got != 1 {
		t.Errorf("the offset to commit is %d: the record that failed counts as processed", got)
	}
}

func TestUndecodableRecordsAreSkipped(t *testing.T) {
	dropped := 0
	b := open(t, Config{MaxIdle: -1, Undecodable: Handler{Decide: always(Skip)}, Dropped: func(string, string) { dropped++ }}, "a")
	if err := b.run("one", "bad", "bad", "two", "bad"); err != nil {
		t.Fatal(err)
	}
	b.saw(t, "one@1", "two@4")
	if got := b.Offsets()["a"].Offset; dropped != 3 || got != 5 {
		t.Errorf("%d records are dropped, the offset is %d", dropped, got)
	}
	if !strings.Contains(b.log.String(), "offset=4") {
		t.Errorf("the log does not say which records were dropped:\n%s", &b.log)
	}
}

func TestFailedRecords(t *testing.T) {
	cause := errors.New("no such customer")
	var failures []Failure
	b := open(t, Config{MaxIdle: -1, Failed: Handler{Decide: func(f *Failure) Decision {
		failures = append(failures, *f)
		return Skip
	}}}, "a")
	b.fail["two"] = cause
	if err := b.run("one", "two", "three"); err != nil {
		t.Fatal(err)
	}
	b.saw(t, "one@1", "three@3")
	if len(failures) != 1 || failures[0].Node != "work" || failures[0].Record.Offset != 1 || !errors.Is(&failures[0], cause) {
		t.Errorf("the handler saw %+v", failures)
	}
	if got := b.Offsets()["a"].Offset; got != 3 {
		t.Errorf("the offset is %d", got)
	}
}

func TestFailedRecordsFail(t *testing.T) {
	b := open(t, Config{MaxIdle: -1}, "a")
	b.fail["two"] = errors.New("no such customer")
	err := b.run("one", "two", "three")
	if want := `task 0_3: node "work": topic "a" partition 3 offset 1: no such customer`; err == nil || err.Error() != want {
		t.Errorf("the error is\n%v, want\n%v", err, want)
	}
}

func TestDeadLetters(t *testing.T) {
	b := open(t, Config{
		MaxIdle: -1, Undecodable: Handler{Decide: always(DeadLetter), Topic: "letters"}, Failed: Handler{Decide: always(DeadLetter), Topic: "letters"},
	}, "a")
	b.fail["two"] = errors.New("no such customer")
	if err := b.run("one", "two", "bad"); err != nil {
		t.Fatal(err)
	}
	if len(b.out) != 2 {
		t.Fatalf("%d records were written", len(b.out))
	}
	for i, want := range []struct{ value, message, offset string }{{"two", "no such customer", "1"}, {"bad", "decoding the value: bad bytes", "2"}} {
		r := b.out[i]
		if r.Topic != "letters" || r.Partition != -1 || string(r.Key) != "k" || string(r.Value) != want.value || r.Timestamp != int64(i+2) {
			t.Errorf("dead letter %d is %+v", i, r)
		}
		var names []string
		headers := map[string]string{}
		for _, h := range r.Headers {
			names = append(names, h.Key)
			headers[h.Key] = string(h.Value)
		}
		if want := []string{"h", "__streams.errors.exception", "__streams.errors.message", "__streams.errors.stacktrace",
			"__streams.errors.topic", "__streams.errors.partition", "__streams.errors.offset"}; !slices.Equal(names, want) {
			t.Errorf("its headers are %q, want %q", names, want)
		}
		if headers["__streams.errors.message"] != want.message || headers["__streams.errors.topic"] != "a" ||
			headers["__streams.errors.partition"] != "3" || headers["__streams.errors.offset"] != want.offset || headers["__streams.errors.exception"] == "" {
			t.Errorf("its headers say %q", headers)
		}
	}
}

func TestDeadLettersNeedATopic(t *testing.T) {
	b := open(t, Config{MaxIdle: -1, Failed: Handler{Decide: always(DeadLetter)}}, "a")
	b.fail["one"] = errors.New("no such customer")
	if err := b.run("one"); err == nil || !strings.Contains(err.Error(), "no such customer") || !strings.Contains(err.Error(), "dead-letter topic") {
		t.Errorf("the error is %v", err)
	}
}

// TestPanics: a panic of the program is an error that says of which record, and where in the program.
func TestPanics(t *testing.T) {
	for value, want := range map[string]string{
		"panic": `task 0_3: node "work": topic "a" partition 3 offset 1: panic: as asked`,
		"worse": `task 0_3: node "source-0": topic "a" partition 3 offset 1: panic: worse bytes`,
	} {
		b := open(t, Config{MaxIdle: -1, Failed: Handler{Decide: always(Skip)}}, "a")
		err := b.run("one", value)
		var f *Failure
		if !errors.As(err, &f) || f.Record == nil || f.Record.Offset != 1 || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "task_test.go:") {
			t.Errorf("%s: the error is %v", value, err)
		}
	}
}

func TestFlushOfNothing(t *testing.T) {
	b := open(t, Config{}, "a")
	if err := b.Flush(); err != nil {
		t.Error(err)
	}
}

// TestAfterAFailure: a driver of tests goes on with the records behind one that failed.
func TestAfterAFailure(t *testing.T) {
	b := open(t, Config{MaxIdle: -1}, "a")
	b.fail["one"] = errors.New("no such customer")
	if err := b.run("one"); err == nil {
		t.Fatal("nothing failed")
	}
	if err := b.run("two"); err != nil {
		t.Fatal(err)
	}
	b.saw(t, "two@1")
}

// refusing is an output that refuses what goes to these topics.
type refusing map[string]bool

type refusal struct{ error }

func (refusal) RecordRefused() {}

func (r refusing) Send(rec *topology.Record) error {
	if r[rec.Topic] {
		return refusal{errors.New("too large")}
	}
	return nil
}

func TestUnwritten(t *testing.T) {
	var seen *Failure
	h := Handler{Topic: "letters", Decide: func(f *Failure) Decision { seen = f; return Skip }}
	b := open(t, Config{Unwritable: h}, "a")
	b.current = &topology.Record{Topic: "a", Partition: 3, Offset: 8}
	out := &topology.Record{Topic: "out", Value: []byte("v")}
	if err := b.Unwritten("sink", out, refusal{errors.New("too large")}); err != nil {
		t.Error(err)
	}
	if seen == nil || seen.Node != "sink" || seen.Record.Offset != 8 || string(seen.Output.Value) != "v" {
		t.Errorf("the handler saw %+v", seen)
	}
	seen = nil
	trouble := errors.New("the broker is away")
	if err := b.Unwritten("sink", out, trouble); !errors.Is(err, trouble) || seen != nil {
		t.Errorf("trouble of the cluster became %v; the handler saw %v", err, seen)
	}
}

// A dead letter that is refused is the end, whatever the handlers say.
func TestRefusedDeadLetter(t *testing.T) {
	b := open(t, Config{MaxIdle: -1, Failed: Handler{Decide: always(DeadLetter), Topic: "letters"}}, "a")
	b.cfg.Output = refusing{"letters": true}
	b.fail["one"] = errors.New("no such customer")
	if err := b.run("one"); err == nil || !strings.Contains(err.Error(), "no such customer") || !strings.Contains(err.Error(), "dead letter cannot be written either: too large") {
		t.Errorf("the error is %v", err)
	}
}

// A failure of no record has a dead letter without key and value, as in Java.
func TestDeadLetterOfNoRecord(t *testing.T) {
	b := open(t, Config{Failed: Handler{Decide: always(DeadLetter), Topic: "letters"}}, "a")
	b.wall = 77
	if err := b.Failed("node", errors.New("of a punctuation")); err != nil {
		t.Fatal(err)
	}
	r := b.out[0]
	if r.Key != nil || r.Value != nil || r.Timestamp != 77 || string(r.Headers[len(r.Headers)-1].Value) != "-1" {
		t.Errorf("the dead letter is %+v", r)
	}
}

func TestRetry(t *testing.T) {
	startOver := func(err error) bool {
		var again interface{ StartOver() }
		return errors.As(err, &again)
	}
	cause := errors.New("no answer")
	b := open(t, Config{MaxIdle: -1, Failed: Handler{Decide: always(Retry), Patience: time.Second}}, "a")
	b.current = &topology.Record{Topic: "a", Offset: 8}
	for _, b.wall = range []int64{0, 1000} {
		if err := b.Failed("work", cause); !startOver(err) || !errors.Is(err, cause) {
			t.Errorf("after %d ms the error is %v", b.wall, err)
		}
	}
	b.wall = 1001
	if err := b.Failed("work", cause); startOver(err) || !strings.Contains(err.Error(), "option TaskTimeout") {
		t.Errorf("after its time the error is %v", err)
	}
	b.current = &topology.Record{Topic: "a", Offset: 9}
	if err := b.Failed("work", cause); !startOver(err) {
		t.Errorf("another record is not retried: %v", err)
	}
	b.cfg.Failed.Patience = 0
	if err := b.Failed("work", cause); startOver(err) {
		t.Errorf("without patience it is retried: %v", err)
	}
}
