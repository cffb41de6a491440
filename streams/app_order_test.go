package streams_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// TestAppReadsInTheOrderOfTime: customers that were written before the orders are known when the orders are joined,
// whichever topic is fetched first, and although a third topic never has anything.
func TestAppReadsInTheOrderOfTime(t *testing.T) {
	c := fakeCluster(t, kfake.NumBrokers(3), kfake.SeedTopics(1, "customers", "orders", "returns", "out"))
	for topic, node := range map[string]int32{"customers": 1, "orders": 0, "returns": 0} {
		if err := c.MoveTopicPartition(topic, 0, node); err != nil {
			t.Fatal(err)
		}
	}
	names := words(500, 500)
	feed(t, c, "customers", names...)
	feed(t, c, "orders", names...)
	b := streams.NewBuilder()
	customers := b.Table("customers", serde.String, serde.String)
	b.Stream([]string{"returns", "orders"}, serde.String, serde.String).
		LeftJoinTable(customers, func(order string, customer streams.Opt[string]) string { return fmt.Sprint(order, " of ", customer) }).
		To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	// The broker of the customers does not answer before that of the orders has answered.
	asked, answered := 0, make(chan struct{})
	c.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		switch c.CurrentNode() {
		case 0:
			if asked++; asked == 3 {
				close(answered)
			}
		case 1:
			c.SleepControl(func() {
				select {
				case <-answered:
				case <-time.After(patience):
				}
			})
		}
		return nil, nil, false
	})
	p := start(t, c, topo)
	p.await(streams.StateRunning)
	awaitRecords(t, c, "out", "500 records", func(all []*kgo.Record) bool {
		for _, r := range all {
			if strings.Contains(string(r.Value), "null") {
				t.Fatalf("an order was processed before its customer: %s", r.Value)
			}
		}
		return len(all) == 500
	})
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestAppUnequalPartitions: a task for a partition that only one of its topics has does not wait for the other topic.
func TestAppUnequalPartitions(t *testing.T) {
	c := fakeCluster(t, kfake.SeedTopics(4, "many"), kfake.SeedTopics(1, "few"), kfake.SeedTopics(1, "out"))
	b := streams.NewBuilder()
	b.Stream([]string{"many", "few"}, serde.String, serde.String).To("out")
	topo, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for i := range 100 { // all partitions have some
		values = append(values, fmt.Sprint("v", i))
	}
	feed(t, c, "many", values...)
	start(t, c, topo)
	awaitRecords(t, c, "out", "the records of all partitions", func(all []*kgo.Record) bool { return len(all) == len(values) })
}
