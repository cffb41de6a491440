//go:build kafka && unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/kafkatest"
)

// envCommand makes this test binary behave as the command.
const envCommand = "KAFKA_COMMAND_UNDER_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(envCommand) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func kafka(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), envCommand+"=1")
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func TestStartStop(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a-directory-whose-path-is-too-long-for-the-address-of-a-socket", "in-most-systems")
	address, errs, err := kafka(t, "start", "--dir", dir)
	if err != nil {
		t.Fatal(err, errs)
	}
	if again, _, _ := kafka(t, "start", "--dir", dir); again != address {
		t.Errorf("the second start printed %q, the first %q", again, address)
	}
	t.Setenv(kafkatest.EnvBootstrap, strings.TrimSpace(address))
	c := kafkatest.Shared(t)
	c.Topic(t, "started", 1)
	if err := c.Kill(1); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("killing another's broker: %v", err)
	}
	if _, errs, err := kafka(t, "stop", "--dir", dir); err != nil {
		t.Fatal(err, errs)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("stop left %v", left)
	}
	if _, _, err := kafka(t, "stop", "--dir", dir); err == nil {
		t.Error("a stopped cluster was stopped again")
	}
}

func TestRun(t *testing.T) {
	out, errs, err := kafka(t, "run", "--", "sh", "-c", "echo at $"+kafkatest.EnvBootstrap+"; exit 7")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("run ended with %v, want exit status 7; it said %s", err, errs)
	}
	if !strings.HasPrefix(out, "at 127.0.0.1:") {
		t.Errorf("the command saw %q", out)
	}
}

func TestStartSaysWhyNot(t *testing.T) {
	_, errs, err := kafka(t, "start", "--dir", t.TempDir(), "--set", "process.roles=baker")
	if err == nil || !strings.Contains(errs, "Invalid value baker") {
		t.Errorf("start with a bad setting: %v: %s", err, errs)
	}
}
