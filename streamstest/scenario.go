package streamstest

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/topology"
)

// Text says how the records of a topic are written in a scenario: strings as they are, everything else as JSON.
type Text struct {
	topic  string
	encode func(key, value string) (k, v []byte, err error)
	decode func(k, v []byte) (key, value string, err error)
}

// TextOf is the Text of a topic with keys and values of two serdes.
func TextOf[K, V any](topic string, key serde.Serde[K], value serde.Serde[V]) Text {
	return Text{
		topic,
		func(k, v string) (kb, vb []byte, err error) {
			if kb, err = parsed(key, k); err == nil {
				vb, err = parsed(value, v)
			}
			return kb, vb, err
		},
		func(kb, vb []byte) (k, v string, err error) {
			if k, err = printed(key, kb); err == nil {
				v, err = printed(value, vb)
			}
			return k, v, err
		},
	}
}

const null = "null"

func parsed[T any](s serde.Serde[T], text string) ([]byte, error) {
	var v T
	switch p := any(&v).(type) {
	case *string:
		*p = text
	default:
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
	}
	if text == null {
		return nil, nil
	}
	return s.Append([]byte{}, v)
}

func printed[T any](s serde.Serde[T], b []byte) (string, error) {
	if b == nil {
		return null, nil
	}
	v, err := s.Decode(b)
	if err != nil {
		return "", err
	}
	switch v := any(v).(type) {
	case string:
		return v, nil
	case fmt.Stringer:
		return v.String(), nil
	}
	text, err := json.Marshal(v)
	return string(text), err
}

// Scenario plays a file: what is sent, and behind ---- what then comes out, again and again. What comes out otherwise fails
// the test; with the environment variable UPDATE_SCENARIOS=1 it is written into the file instead.
//
//	# An order at a time: topic, key, value, and the timestamp in milliseconds
//	orders alice=5 @1000
//	orders bob=null @2000
//	advance 10s
//	----
//	totals alice=5 @1000
//
// "commit" commits, where that is by hand. Only topics with a Text are written and shown: topic by topic as Texts are given, each in
// its order. A key or value "null" is null.
func (d *Driver) Scenario(file string, texts ...Text) {
	d.t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		d.t.Fatal(err)
		return
	}
	played, err := d.play(file, string(content), texts)
	if err != nil {
		d.t.Fatal(err)
		return
	}
	if played == string(content) {
		return
	}
	if os.Getenv("UPDATE_SCENARIOS") != "" {
		if err := os.WriteFile(file, []byte(played), 0o644); err != nil { //nolint:gosec // it is source
			d.t.Fatal(err)
		}
		return
	}
	d.t.Fatal(fmt.Sprintf("%s came out otherwise; UPDATE_SCENARIOS=1 takes it over:\n%s", file, played))
}

// play returns the scenario with what came out.
func (d *Driver) play(file, content string, texts []Text) (string, error) {
	var out strings.Builder
	expected := false // the lines are what is expected
	for n, line := range strings.Split(strings.TrimRight(content, "\n"), "\n") {
		if trimmed := strings.TrimSpace(line); expected && trimmed != "" {
			continue
		} else if trimmed == "----" {
			expected = true
			fmt.Fprintln(&out, line)
			if err := d.show(&out, texts); err != nil {
				return "", fmt.Errorf("%s:%d: %w", file, n+1, err)
			}
			continue
		} else if err := d.line(trimmed, texts); err != nil {
			return "", fmt.Errorf("%s:%d: %w", file, n+1, err)
		}
		expected = false
		fmt.Fprintln(&out, line)
	}
	return out.String(), nil
}

// show writes what was not shown before.
func (d *Driver) show(out *strings.Builder, texts []Text) error {
	for _, text := range texts {
		all := d.topics[text.topic]
		for _, r := range all[d.read[text.topic]:] {
			k, v, err := text.decode(r.Key, r.Value)
			if err != nil {
				return fmt.Errorf("topic %q: %w", text.topic, err)
			}
			fmt.Fprintf(out, "%s %s=%s @%d\n", text.topic, k, v, r.Timestamp)
		}
		d.read[text.topic] = len(all)
	}
	return nil
}

// line does what a line says.
func (d *Driver) line(line string, texts []Text) error {
	verb, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case line == "" || strings.HasPrefix(line, "#"):
		return nil
	case verb == "advance":
		by, err := time.ParseDuration(rest)
		if err != nil {
			return err
		}
		return d.Advance(by)
	case line == "commit":
		return d.Commit()
	}
	for _, text := range texts {
		if text.topic == verb {
			return d.sendText(text, rest)
		}
	}
	return fmt.Errorf("%q is neither advance, commit, nor a topic with a Text", verb)
}

func (d *Driver) sendText(text Text, line string) error {
	record, at, timed := cutLast(line, "@")
	key, value, ok := strings.Cut(strings.TrimSpace(record), "=")
	ms, err := strconv.ParseInt(at, 10, 64)
	if !ok || !timed || err != nil {
		return fmt.Errorf("%q is not of the form key=value @milliseconds", line)
	}
	r := topology.Record{Topic: text.topic, Timestamp: ms}
	if r.Key, r.Value, err = text.encode(key, value); err != nil {
		return err
	}
	r.Partition = d.choose(r.Topic, r.Key)
	return d.Pipe(r)
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
