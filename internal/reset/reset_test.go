package reset

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/runtime"
)

const patienceOfTests = 30 * time.Second

func patiently(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patienceOfTests)
	t.Cleanup(cancel)
	return ctx
}

// fixture is a cluster with an application that has read half of its input: ten records in each of two partitions, whose
// timestamps are 1000, 2000 and so on.
func fixture(t *testing.T) (*kfake.Cluster, *kgo.Client) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1),
		kfake.SeedTopics(2, "in", "middle", "app-in"),
		kfake.SeedTopics(1, "app-counts-changelog", "app-counts-repartition", "app-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000007-topic",
			"app-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0000000015-topic", "app-join-subscription-response-topic",
			"app-notes", "app2-counts-changelog", "application-counts-changelog", "counts-changelog"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	client := clientOf(t, c)
	var records []*kgo.Record
	for i := range 10 {
		for p := range int32(2) {
			for _, topic := range []string{"in", "middle"} {
				records = append(records, &kgo.Record{Topic: topic, Partition: p, Timestamp: time.UnixMilli(int64(i+1) * 1000)})
			}
		}
	}
	if err := client.ProduceSync(patiently(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	commit(t, client, 5)
	return c, client
}

func clientOf(t *testing.T, c *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// commit commits an offset for partition 0 of the input.
func commit(t *testing.T, client *kgo.Client, at int64) {
	t.Helper()
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: "in", Partition: 0, At: at, LeaderEpoch: -1})
	if err := kadm.NewClient(client).CommitAllOffsets(patiently(t), "app", o); err != nil {
		t.Fatal(err)
	}
}

func committed(t *testing.T, client *kgo.Client) map[string]int64 {
	t.Helper()
	all, err := kadm.NewClient(client).FetchOffsets(patiently(t), "app")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	all.Each(func(r kadm.OffsetResponse) { out[fmt.Sprint(r.Topic, "-", r.Partition)] = r.At })
	return out
}

func planOf(t *testing.T, client *kgo.Client, o Options) *Plan {
	t.Helper()
	o.Application = "app"
	p, err := NewPlan(patiently(t), client, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func printed(t *testing.T, p *Plan) string {
	t.Helper()
	var b strings.Builder
	if err := p.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The plan names all that is done, and nothing is done before.
func TestPlanAndExecute(t *testing.T) {
	c, client := fixture(t)
	base := t.TempDir()
	dir := filepath.Join(base, "app")
	if err := os.MkdirAll(filepath.Join(dir, "0_0", "counts"), 0o750); err != nil {
		t.Fatal(err)
	}
	p := planOf(t, client, Options{Inputs: []string{"in"}, Intermediate: []string{"middle"}, StateDir: base})
	want := `TOPIC   PARTITION  COMMITTED  NEW OFFSET  
in      0          5          0           
in      1          none       0           
middle  0          none       10          intermediate
middle  1          none       10          intermediate
delete topic app-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000007-topic
delete topic app-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0000000015-topic
delete topic app-counts-changelog
delete topic app-counts-repartition
delete topic app-join-subscription-response-topic
delete directory ` + dir + "\n"
	if got := printed(t, p); got != want {
		t.Errorf("the plan is\n%s\nwant\n%s", got, want)
	}
	if got := committed(t, client)["in-0"]; got != 5 {
		t.Errorf("the plan moved the offset to %d", got)
	}
	var said []string
	if err := p.Execute(patiently(t), func(f string, a ...any) { said = append(said, fmt.Sprintf(f, a...)) }); err != nil {
		t.Fatal(err)
	}
	if want := map[string]int64{"in-0": 0, "in-1": 0, "middle-0": 10, "middle-1": 10}; !maps.Equal(committed(t, client), want) {
		t.Errorf("the offsets are %v, want %v", committed(t, client), want)
	}
	client = clientOf(t, c) // which does not remember what there was
	topics, err := kadm.NewClient(client).ListTopics(patiently(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"app-in", "app-notes", "app2-counts-changelog", "application-counts-changelog", "counts-changelog", "in", "middle"}; !slices.Equal(topics.Names(), want) {
		t.Errorf("the topics are %q, want %q", topics.Names(), want)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the state directory is there: %v", err)
	}
	if len(said) != 7 || !strings.Contains(said[3], "app-counts-changelog (3 of 5)") {
		t.Errorf("it said %q", said)
	}
	again := planOf(t, client, Options{StateDir: base})
	if got := printed(t, again); got != "there is nothing to reset\n" {
		t.Errorf("after the reset there is to do:\n%s", got)
	}
	if err := again.Execute(patiently(t), t.Logf); err != nil {
		t.Error(err)
	}
}

// Each way to say where to go, for partition 0, where 5 is committed, and 1, where nothing is.
func TestTargets(t *testing.T) {
	_, client := fixture(t)
	file, err := File(strings.NewReader("in,1,7\n\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		to    Target
		want  []int64
		notes int
	}{
		"earliest":   {Earliest(), []int64{0, 0}, 0},
		"latest":     {Latest(), []int64{10, 10}, 0},
		"offset":     {Offset(3), []int64{3, 3}, 0},
		"beyond":     {Offset(30), []int64{10, 10}, 2},
		"forward":    {Shift(2), []int64{7, 2}, 0},
		"back":       {Shift(-7), []int64{0, 0}, 2},
		"a time":     {Since(time.UnixMilli(3500)), []int64{3, 3}, 0},
		"the future": {Since(time.UnixMilli(99_000)), []int64{10, 10}, 0},
		"a file":     {file, []int64{7}, 0},
	} {
		p := planOf(t, client, Options{Inputs: []string{"in"}, To: c.to})
		var got []int64
		for _, m := range p.Moves {
			got = append(got, m.To)
		}
		if !slices.Equal(got, c.want) || len(p.Notes) != c.notes {
			t.Errorf("%s: offsets %v, notes %q; want %v and %d", name, got, p.Notes, c.want, c.notes)
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "P1D": 24 * time.Hour, "P1DT30M": 24*time.Hour + 30*time.Minute, "PT1H2M3.5S": time.Hour + 2*time.Minute + 3500*time.Millisecond,
		"P": -1, "PT": -1, "-5s": -1, "1d": -1, "P99999999D": -1,
	} {
		got, err := ParseDuration(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]time.Time{
		"2026-01-31T13:45:00.250":      time.Date(2026, 1, 31, 13, 45, 0, 250e6, time.Local),
		"2026-01-31T13:45:00":          time.Date(2026, 1, 31, 13, 45, 0, 0, time.Local),
		"2026-01-31T13:45:00.250Z":     time.Date(2026, 1, 31, 13, 45, 0, 250e6, time.UTC),
		"2026-01-31T13:45:00.000+0100": time.Date(2026, 1, 31, 12, 45, 0, 0, time.UTC),
	} {
		if got, err := ParseTime(text); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	if _, err := ParseTime("yesterday"); err == nil {
		t.Error("yesterday is a time")
	}
	for _, text := range []string{"in,0", "in,x,1", "in,0,x", "in,-1,0", "in,0,-1"} {
		if _, err := File(strings.NewReader(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	_, client := fixture(t)
	file, err := File(strings.NewReader("in,2,7"))
	if err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		"id is empty":            {},
		`do not exist: nowhere`:  {Application: "app", Inputs: []string{"in", "nowhere"}},
		"no internal topic":      {Application: "app", Internal: []string{"app-notes"}},
		"in-2, which is no part": {Application: "app", Inputs: []string{"in"}, To: file},
	} {
		if _, err := NewPlan(patiently(t), client, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	p := planOf(t, client, Options{Internal: []string{"app-counts-changelog"}})
	if !slices.Equal(p.Topics, []string{"app-counts-changelog"}) {
		t.Errorf("the topics are %q", p.Topics)
	}
}

// join makes a member of the group that has its partitions.
func join(t *testing.T, c *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	joined := make(chan struct{}, 10)
	m := clientOf(t, c, append(opts, kgo.ConsumerGroup("app"), kgo.ConsumeTopics("in"), kgo.ClientID("me"), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { joined <- struct{}{} }))...)
	select {
	case <-joined:
	case <-time.After(patienceOfTests):
		t.Fatal("the member did not join")
	}
	return m
}

// A group with members is left alone, unless they are to be removed; static ones are too, though their process is gone.
func TestMembers(t *testing.T) {
	c, client := fixture(t)
	static := join(t, c, kgo.InstanceID("one"))
	p := planOf(t, client, Options{Inputs: []string{"in"}})
	if got := printed(t, p); !strings.Contains(got, `active member: client "me"`) || !strings.Contains(got, `instance id "one"`) {
		t.Errorf("the plan says no word of the member:\n%s", got)
	}
	err := p.Execute(patiently(t), t.Logf)
	if err == nil || !strings.Contains(err.Error(), "1 active members") || !strings.Contains(err.Error(), "--force") {
		t.Errorf("the error is %v", err)
	}
	if got := committed(t, client)["in-0"]; got != 5 {
		t.Errorf("the offset is %d all the same", got)
	}
	static.Close() // and does not leave
	p = planOf(t, client, Options{Inputs: []string{"in"}, Force: true})
	if len(p.Members) != 1 {
		t.Fatalf("the members are %v", p.Members)
	}
	if err := p.Execute(patiently(t), t.Logf); err != nil {
		t.Fatal(err)
	}
	if got := committed(t, client)["in-0"]; got != 0 {
		t.Errorf("the offset is %d", got)
	}
}

func TestDirectoryInUse(t *testing.T) {
	_, client := fixture(t)
	base := t.TempDir()
	held, err := runtime.OpenStateDir(base, "app", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := planOf(t, client, Options{StateDir: base})
	if err := p.Execute(patiently(t), t.Logf); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("the error is %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Execute(patiently(t), t.Logf); err != nil {
		t.Error(err)
	}
}
