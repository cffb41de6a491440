package assign

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/topology"
)

var update = flag.Bool("update", false, "write what the scenarios print into their files")

// TestScenarios plays the files of testdata: what happens to a group, a line each, then "----", then what each
// rebalance gives the members. Lines are:
//
//	option standbys=1 lag=10000 warmups=2 racks=zone,cluster
//	stateful 0_0 0_1 ...          tasks; their changelogs are empty
//	stateless 1_0 1_1 ...
//	write 50000                   every changelog grows, and what runs follows
//	join a workers=2 zone=x       a process joins, with what it had on disk before, if it was there
//	leave a, die a                it is gone, its disk stays
//	wipe a                        so does its disk
//	drain a, refill a             it shall have nothing from here on; it shall again
//	catch-up, catch-up a          restores, standbys and warm-ups are done: of all, or of one
//	slow                          from here on, restores are done by catch-up only
//	unknown, known                whether the ends of the changelogs can be asked for
//	rebalance                     one round; settle: until nothing is held back
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(text), "----\n")
			s := &scenario{t: t, world: newWorld(nil), last: make(map[string]Share), tags: make(map[string]Member)}
			for line := range strings.Lines(script) {
				s.play(strings.TrimSpace(line))
			}
			if got := s.out.String(); *update {
				if err := os.WriteFile(file, []byte(script+"----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

type scenario struct {
	*world
	t    *testing.T
	out  strings.Builder
	last map[string]Share // what each member was given
	tags map[string]Member
}

func (s *scenario) play(line string) {
	s.t.Helper()
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(line, "#") {
		return
	}
	switch args := words[1:]; words[0] {
	case "option":
		s.option(args)
	case "stateful", "stateless":
		for _, a := range args {
			id := taskID(a)
			s.tasks = append(s.tasks, Task{
				ID: id, Stateful: words[0] == "stateful",
				Inputs: []TopicPartition{{fmt.Sprint("t", id.Subtopology), id.Partition}},
			})
			if words[0] == "stateful" {
				s.ends[id] = 0
			}
		}
	case "write":
		s.write(s.number(args[0]))
		fmt.Fprintf(&s.out, "# %s\n", line)
	case "join":
		s.join(args[0], args[1:])
		fmt.Fprintf(&s.out, "# %s\n", line)
	case "leave", "die", "wipe":
		s.members = slices.DeleteFunc(s.members, func(m Member) bool { return m.ID == args[0] })
		delete(s.restored, args[0])
		if words[0] == "wipe" {
			delete(s.disk, args[0])
		}
		fmt.Fprintf(&s.out, "# %s\n", line)
	case "drain", "refill":
		i := slices.IndexFunc(s.members, func(m Member) bool { return m.ID == args[0] })
		s.members[i].Draining = words[0] == "drain"
		fmt.Fprintf(&s.out, "# %s\n", line)
	case "catch-up":
		for member, share := range s.last {
			if len(args) == 0 || args[0] == member {
				s.catchUp(member, share)
			}
		}
		fmt.Fprintf(&s.out, "# %s\n", line)
	case "slow":
		s.slow = true
	case "unknown", "known":
		s.unknown = words[0] == "unknown"
		fmt.Fprintf(&s.out, "# %s\n", line)
	case "rebalance":
		s.round()
	case "settle":
		for n := 0; s.round(); n++ {
			if n > 3 {
				s.t.Fatal("it does not settle")
			}
		}
	default:
		s.t.Fatalf("%q is not understood", line)
	}
}

func (s *scenario) number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *scenario) option(args []string) {
	for _, a := range args {
		switch key, value, _ := strings.Cut(a, "="); key {
		case "standbys":
			s.opt.Standbys = int(s.number(value))
		case "warmups":
			s.opt.Warmups = int(s.number(value))
		case "lag":
			s.opt.AcceptableLag = s.number(value)
		case "racks":
			s.opt.RackTags = strings.Split(value, ",")
		default:
			s.t.Fatalf("option %q is not understood", a)
		}
	}
}

func (s *scenario) join(name string, args []string) {
	m, known := s.tags[name]
	if !known {
		m = Member{ID: name, Process: ProcessID{name[0]}, Workers: 1, Tags: make(map[string]string)}
		for _, a := range args {
			if key, value, _ := strings.Cut(a, "="); key == "workers" {
				m.Workers = int(s.number(value))
			} else {
				m.Tags[key] = value
			}
		}
		s.tags[name] = m
	}
	s.enter(m)
}

// round rebalances and prints what that gave; it says whether another has to follow at once.
func (s *scenario) round() bool {
	plan, again := s.rebalance()
	s.last = plan.Shares
	for _, m := range slices.SortedFunc(slices.Values(s.members), func(a, b Member) int { return strings.Compare(a.ID, b.ID) }) {
		share := plan.Shares[m.ID]
		fmt.Fprintf(&s.out, "%s: %s", m.ID, names(share.Tasks))
		if len(share.Standbys) > 0 {
			fmt.Fprintf(&s.out, " | standby %s", names(share.Standbys))
		}
		if len(share.Later) > 0 {
			fmt.Fprintf(&s.out, " | later %s", names(share.Later))
		}
		s.out.WriteByte('\n')
	}
	switch {
	case again:
		s.out.WriteString("again at once\n")
	case plan.Probe:
		s.out.WriteString("probe later\n")
	}
	s.out.WriteByte('\n')
	return again
}

func names(ids []topology.TaskID) string {
	if len(ids) == 0 {
		return "-"
	}
	var out []string
	for _, id := range ids {
		out = append(out, id.String())
	}
	return strings.Join(out, " ")
}
