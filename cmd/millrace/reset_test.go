package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

func TestReset(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "in", "app-counts-changelog"), kfake.EnableSASL(),
		kfake.Superuser("SCRAM-SHA-256", "me", `a "pass" word`))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "client.properties")
	text := "# who\nbootstrap.servers=" + cluster.ListenAddrs()[0] + "\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\n" +
		"sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n  username=\"me\" \\\n  password=\"a \\\"pass\\\" word\";\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"reset", "--application", "app", "--input-topics", "in", "--command-config", config}
	for _, c := range []struct {
		more []string
		want string
		fail bool
	}{
		{nil, "--execute does it", false},
		{[]string{"--to-latest", "--to-offset", "1"}, "to-latest to-offset", true},
		{[]string{"--to-offset", "-1"}, "cannot be negative", true},
		{[]string{"--by-duration", "soon"}, `"soon" is no duration`, true},
		{[]string{"--input-topics", "nowhere"}, "do not exist: nowhere", true},
		{[]string{"--execute"}, "deleted topic app-counts-changelog (1 of 1)", false},
	} {
		out, err := execute(t, append(args, c.more...)...)
		if (err != nil) != c.fail || !strings.Contains(out, c.want) {
			t.Errorf("%q: error %v, said %q; want %q", c.more, err, out, c.want)
		}
	}
	if out, err := execute(t, "reset"); err == nil || !strings.Contains(out, `"application" not set`) {
		t.Errorf("without an application: %v, %s", err, out)
	}
}
