package devkafka

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// envDir makes this test binary run a broker on a directory until it is killed.
const envDir = "DEVKAFKA_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		b, err := Start(Dir(dir))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(b.Brokers()[0])
		select {}
	}
	os.Exit(m.Run())
}

func TestDirectorySurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	b, err := Start(Dir(dir), Topics(1, "made"))
	must(t, err)
	fill(t, b)
	c, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...))
	must(t, err)
	var upTo kadm.Offsets
	upTo.AddOffset("made", 0, 2, -1)
	deleted, err := kadm.NewClient(c).DeleteRecords(t.Context(), upTo)
	must(t, err)
	must(t, deleted.Error())
	compact := map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}
	_, err = kadm.NewClient(c).CreateTopic(t.Context(), 1, 1, compact, "table")
	must(t, err)
	c.Close()
	must(t, b.Close())

	b = start(t, Dir(dir), Topics(9, "made"))
	checkFilled(t, b)
	starts, err := admin(t, b).ListStartOffsets(t.Context(), "made")
	must(t, err)
	if o, _ := starts.Lookup("made", 0); o.Offset != 2 {
		t.Errorf("deleted records are back: the topic starts at %d, want 2", o.Offset)
	}
	described, err := admin(t, b).DescribeTopicConfigs(t.Context(), "table")
	must(t, err)
	for _, c := range described[0].Configs {
		if c.Key == "cleanup.policy" && c.MaybeValue() != "compact" {
			t.Errorf("the topic's config became %s", c.MaybeValue())
		}
	}
	must(t, client(t, b).ProduceSync(t.Context(), &kgo.Record{Topic: "made", Value: []byte("5")}).FirstErr())
	if got := strings.Join(values(t, b, "made", 4), " "); got != "2 3 4 5" {
		t.Errorf("the topic holds %s, want 2 3 4 5", got)
	}
}

func TestDirectorySurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	program := exec.CommandContext(t.Context(), os.Args[0])
	program.Env = append(os.Environ(), envDir+"="+dir)
	out, err := program.StdoutPipe()
	must(t, err)
	must(t, program.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	fill(t, &Broker{addr: strings.TrimSpace(line)})
	must(t, program.Process.Kill())
	_ = program.Wait() // says that it was killed

	b := start(t, Dir(dir))
	checkFilled(t, b)
	if got := strings.Join(values(t, b, "made", 5), " "); got != "0 1 2 3 4" {
		t.Errorf("the topic holds %s, want 0 1 2 3 4", got)
	}
}

func TestDirectoryIsForOne(t *testing.T) {
	dir := t.TempDir()
	b, err := Start(Dir(dir))
	must(t, err)
	if _, err := Start(Dir(dir)); err == nil || !strings.Contains(err.Error(), dir+" is in use") {
		t.Errorf("a second broker on the directory: %v", err)
	}
	must(t, b.Close())
	start(t, Dir(dir))
}

func TestBadDirectory(t *testing.T) {
	file := t.TempDir() + "/file"
	must(t, os.WriteFile(file, nil, 0o644))
	if _, err := Start(Dir(file)); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("started on a file: %v", err)
	}
	bad := t.TempDir()
	must(t, os.WriteFile(bad+"/meta.json", []byte("no JSON"), 0o644))
	if _, err := Start(Dir(bad)); err == nil || !strings.Contains(err.Error(), "on the data in "+bad) {
		t.Errorf("started on what is no data: %v", err)
	}
}

// fill sends the records 0 to 4 to a topic that the broker makes on demand, and one that is committed for a group.
func fill(t *testing.T, b *Broker) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...), kgo.AllowAutoTopicCreation(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	must(t, err)
	defer c.Close()
	for i := range 5 {
		must(t, c.ProduceSync(t.Context(), &kgo.Record{Topic: "made", Value: fmt.Append(nil, i)}).FirstErr())
	}
	must(t, c.ProduceSync(t.Context(), &kgo.Record{Topic: "on-demand", Value: []byte("v")}).FirstErr())
	var offsets kadm.Offsets
	offsets.AddOffset("made", 0, 3, -1)
	must(t, kadm.NewClient(c).CommitAllOffsets(t.Context(), "group", offsets))
}

// checkFilled checks all of what fill made but the records of "made".
func checkFilled(t *testing.T, b *Broker) {
	t.Helper()
	if got := values(t, b, "on-demand", 1); len(got) != 1 {
		t.Error("the record of a topic made on demand is gone")
	}
	offsets, err := admin(t, b).FetchOffsets(t.Context(), "group")
	must(t, err)
	if o, _ := offsets.Lookup("made", 0); o.At != 3 {
		t.Errorf("the group is at offset %d, want 3", o.At)
	}
}
