package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
)

func TestDevServesUntilInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	out, in := io.Pipe()
	c := command()
	c.SetArgs([]string{"dev", "--port", "0", "--data", t.TempDir(), "--partitions", "2"})
	c.SetOut(in)
	ended := make(chan error, 1)
	go func() {
		ended <- c.ExecuteContext(ctx)
		in.Close()
	}()
	lines := bufio.NewReader(out)
	addr, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err, <-ended)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	addr = strings.TrimSpace(addr)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	interrupt()
	if err := <-ended; err != nil {
		t.Errorf("dev ended with %v", err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the broker is still there")
	}
}

func TestDevSaysWhyNot(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for want, args := range map[string][]string{
		"port " + port + " is in use": {"dev", "--port", port},
		"at least 1 is needed":        {"dev", "--port", "0", "--partitions", "0"},
		"unknown command":             {"dev", "now"},
	} {
		if out, err := execute(t, args...); err == nil || !strings.Contains(out, want) {
			t.Errorf("millrace %q: error %v, said %q; want %q", args, err, out, want)
		}
	}
}

func TestVersion(t *testing.T) {
	out, err := execute(t, "version")
	if err != nil || !strings.HasPrefix(out, "millrace ") || !strings.Contains(out, "go1.") {
		t.Errorf("version printed %q, error %v", out, err)
	}
}

func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	c := command()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&out)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}
