package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/assign"
)

// Earliest and Latest stand for the ends of a partition.
const (
	Earliest int64 = -2
	Latest   int64 = -1
)

// Topic is what the cluster says of a topic: its id, all zeros from brokers before 2.8, and how many partitions it has.
type Topic = struct {
	ID         [16]byte
	Partitions int32
}

// Topics describes topics; one that does not exist is left out.
func (c *Client) Topics(ctx context.Context, names []string) (topics map[string]Topic, err error) {
	err = c.retry(ctx, "the metadata of topics", passing, func() error {
		topics, err = c.topics(ctx, names)
		return err
	})
	return topics, meaning(err)
}

// AllTopics returns the names of all topics, but for the cluster's own.
func (c *Client) AllTopics(ctx context.Context) (names []string, err error) {
	err = c.retry(ctx, "the names of all topics", passing, func() error {
		names = nil
		resp, err := request[*kmsg.MetadataResponse](ctx, c.Client, kmsg.NewPtrMetadataRequest())
		if err != nil {
			return err
		}
		for _, t := range resp.Topics {
			if t.Topic != nil && !t.IsInternal && t.ErrorCode == 0 {
				names = append(names, *t.Topic)
			}
		}
		return nil
	})
	return names, meaning(err)
}

// Partitions returns how many partitions each of the topics has; a topic that does not exist is left out.
func (c *Client) Partitions(ctx context.Context, names []string) (map[string]int32, error) {
	topics, err := c.Topics(ctx, names)
	counts := make(map[string]int32, len(topics))
	for name, t := range topics {
		counts[name] = t.Partitions
	}
	return counts, err
}

func (c *Client) topics(ctx context.Context, names []string) (map[string]Topic, error) {
	resp, err := c.metadata(ctx, names)
	if err != nil {
		return nil, err
	}
	out := make(map[string]Topic, len(names))
	for _, t := range resp.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		switch {
		case err == nil:
			out[*t.Topic] = Topic{t.TopicID, int32(len(t.Partitions))}
		case errors.Is(err, kerr.UnknownTopicOrPartition):
		case errors.Is(err, kerr.LeaderNotAvailable): // just created
			if len(t.Partitions) > 0 {
				out[*t.Topic] = Topic{t.TopicID, int32(len(t.Partitions))}
			}
		default:
			return nil, fmt.Errorf("kafka: describing topic %q: %w", *t.Topic, err)
		}
	}
	return out, nil
}

func (c *Client) metadata(ctx context.Context, topics []string) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, t := range topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &t
		req.Topics = append(req.Topics, rt)
	}
	resp, err := request[*kmsg.MetadataResponse](ctx, c.Client, req)
	if err != nil {
		return nil, fmt.Errorf("kafka: metadata of %d topics: %w", len(topics), err)
	}
	return resp, nil
}

// CreateTopic makes a topic; one that exists already is no error. Replication -1 leaves it to the broker.
func (c *Client) CreateTopic(ctx context.Context, topic string, partitions int32, replication int16, config map[string]string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, partitions, replication
	for _, k := range slices.Sorted(maps.Keys(config)) {
		kv := kmsg.NewCreateTopicsRequestTopicConfig()
		kv.Name, kv.Value = k, kmsg.StringPtr(config[k])
		t.Configs = append(t.Configs, kv)
	}
	req.Topics = append(req.Topics, t)
	req.TimeoutMillis = 30_000
	return c.retry(ctx, fmt.Sprintf("the creation of topic %q", topic), passing, func() error { return c.createTopic(ctx, req) })
}

func (c *Client) createTopic(ctx context.Context, req *kmsg.CreateTopicsRequest) error {
	want := &req.Topics[0]
	resp, err := request[*kmsg.CreateTopicsResponse](ctx, c.Client, req)
	if err != nil {
		return fmt.Errorf("kafka: creating topic %q: %w", want.Topic, err)
	}
	for _, t := range resp.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
			continue
		}
		detail := ""
		if t.ErrorMessage != nil && *t.ErrorMessage != "" {
			detail = " (" + *t.ErrorMessage + ")"
		}
		return fmt.Errorf("kafka: creating topic %q with %d partitions and replication factor %d: %w%s",
			want.Topic, want.NumPartitions, want.ReplicationFactor, err, detail)
	}
	return nil
}

// TopicConfig returns the value of one config for each of the topics.
func (c *Client) TopicConfig(ctx context.Context, topics []string, name string) (map[string]string, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, t := range topics {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, t, []string{name}
		req.Resources = append(req.Resources, r)
	}
	var resp *kmsg.DescribeConfigsResponse
	err := c.retry(ctx, "the configuration of topics", passing, func() (err error) {
		resp, err = request[*kmsg.DescribeConfigsResponse](ctx, c.Client, req)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("kafka: config %s of %d topics: %w", name, len(topics), err)
	}
	out := make(map[string]string, len(topics))
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return nil, fmt.Errorf("kafka: config %s of topic %q: %w", name, r.ResourceName, err)
		}
		for _, kv := range r.Configs {
			if kv.Name == name && kv.Value != nil {
				out[r.ResourceName] = *kv.Value
			}
		}
	}
	return out, nil
}

// Offsets returns the offset at the start (Earliest) or the end (Latest) of each partition. It retries while leaders
// are not there yet, until ctx ends; so it also waits for partitions that were just created: the first write to one
// whose leader does not know itself yet could hang (a retried first batch arriving after the second is out of
// sequence for good). The end is that of the log, open transactions included.
func (c *Client) Offsets(ctx context.Context, partitions []assign.TopicPartition, at int64) (map[assign.TopicPartition]int64, error) {
	out := make(map[assign.TopicPartition]int64, len(partitions))
	missing := slices.Clone(partitions)
	err := c.retry(ctx, "the offsets of "+list(partitions), starting, func() error {
		err := c.listOffsets(ctx, missing, at, out)
		missing = slices.DeleteFunc(missing, func(p assign.TopicPartition) bool { _, ok := out[p]; return ok })
		return err
	})
	if err != nil {
		return nil, meaning(fmt.Errorf("kafka: waiting for the leaders of %s: %w", list(missing), err))
	}
	return out, nil
}

func (c *Client) listOffsets(ctx context.Context, partitions []assign.TopicPartition, at int64, out map[assign.TopicPartition]int64) error {
	if len(partitions) == 0 {
		return nil
	}
	req := kmsg.NewPtrListOffsetsRequest()
	for topic, numbers := range byTopic(partitions) {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for _, n := range numbers {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = n, at
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := request[*kmsg.ListOffsetsResponse](ctx, c.Client, req)
	if err != nil {
		return err
	}
	var first error
	seen := 0
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			seen++
			tp := assign.TopicPartition{Topic: t.Topic, Partition: p.Partition}
			if err := kerr.ErrorForCode(p.ErrorCode); err == nil {
				out[tp] = p.Offset
			} else if first == nil || !starting(err) {
				first = fmt.Errorf("%v: %w", tp, err)
			}
		}
	}
	if first == nil && seen < len(partitions) {
		return kerr.LeaderNotAvailable
	}
	return first
}

// DeleteRecords deletes what lies before the offsets.
func (c *Client) DeleteRecords(ctx context.Context, before map[assign.TopicPartition]int64) error {
	req := kmsg.NewPtrDeleteRecordsRequest()
	for topic, numbers := range byTopic(slices.Collect(maps.Keys(before))) {
		t := kmsg.NewDeleteRecordsRequestTopic()
		t.Topic = topic
		for _, n := range numbers {
			p := kmsg.NewDeleteRecordsRequestTopicPartition()
			p.Partition, p.Offset = n, before[assign.TopicPartition{Topic: topic, Partition: n}]
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	req.TimeoutMillis = 30_000
	resp, err := request[*kmsg.DeleteRecordsResponse](ctx, c.Client, req)
	if err != nil {
		return fmt.Errorf("kafka: deleting records: %w", err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("kafka: deleting records of %s-%d: %w", t.Topic, p.Partition, err)
			}
		}
	}
	return nil
}

// starting reports whether a partition may be there in a moment.
func starting(err error) bool { return passing(err) || errors.Is(err, kerr.UnknownTopicOrPartition) }

func byTopic(partitions []assign.TopicPartition) map[string][]int32 {
	m := make(map[string][]int32)
	for _, p := range slices.SortedFunc(slices.Values(partitions), assign.TopicPartition.Compare) {
		m[p.Topic] = append(m[p.Topic], p.Partition)
	}
	return m
}

// list prints a few partitions.
func list(partitions []assign.TopicPartition) string {
	const most = 5
	var b strings.Builder
	for i, p := range partitions {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(partitions)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p.String())
	}
	return b.String()
}
