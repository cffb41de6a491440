package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// rawCopy copies records with the Kafka client alone: what any program on it costs at least.
func rawCopy(ctx context.Context, a arguments, t0 float64, records int64) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(a["bootstrap"], ",")...), kgo.ConsumeTopics(a["in"]), kgo.ConsumerGroup(a["app-id"]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed atomic.Pointer[error]
	var first usage
	for got := int64(0); got < records; {
		fetches := cl.PollRecords(ctx, 10_000)
		if err := fetches.Err0(); err != nil {
			return err
		}
		if fetches.NumRecords() > 0 && first.at == 0 {
			first = usageNow()
			say("event", "running", "at_ms", first.at, "since_start_ms", first.at-t0, "cpu_s", first.cpu)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got++
			cl.Produce(ctx, &kgo.Record{Topic: a["out"], Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(&err)
				}
			})
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := cl.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return fmt.Errorf("producing: %w", *err)
	}
	end := usageNow()
	wall := (end.at - first.at) / 1e3
	say("event", "done", "ok", true, "records", records, "wall_s", wall, "rec_s", float64(records)/wall, "cold_start_ms", first.at-t0,
		"cpu_run_s", end.cpu-first.cpu, "cpu_total_s", end.cpu, "peak_rss_mib", memory("VmHWM"), "at_ms", end.at)
	return nil
}
