//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/millrace/millrace/internal/kafkatest"
)

// serveVerb is what start calls itself with: the process that stays and owns the cluster.
const serveVerb = "serve"

// control is the socket in a cluster's directory on which its process takes orders, "bootstrap" and "stop".
const control = "control"

// errorsName is the file in a cluster's directory for what its process complains about.
const errorsName = "errors"

// start leaves a process behind that owns a cluster in dir, and prints the cluster's address. A cluster that is
// already there is left as it is.
func start(ctx context.Context, dir string, flags []string) error {
	if address, err := ask(dir, "bootstrap"); err == nil && address != "" {
		fmt.Print(address)
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("kafka start: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("kafka start: %w", err)
	}
	errorsPath := filepath.Join(dir, errorsName)
	errorsFile, err := os.Create(errorsPath)
	if err != nil {
		return fmt.Errorf("kafka start: %w", err)
	}
	defer errorsFile.Close()
	server := exec.Command(self, append([]string{serveVerb}, flags...)...)
	server.Stderr = errorsFile
	server.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives this process and its terminal
	said, err := server.StdoutPipe()
	if err != nil {
		return fmt.Errorf("kafka start: %w", err)
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("kafka start: %w", err)
	}
	interrupted := context.AfterFunc(ctx, func() { _ = server.Process.Signal(syscall.SIGTERM) })
	defer interrupted()
	address, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		_ = server.Wait() // its own message says more than its status
		why, _ := os.ReadFile(errorsPath)
		return fmt.Errorf("kafka start: no cluster: %s", strings.TrimSpace(string(why)))
	}
	fmt.Print(address)
	return server.Process.Release()
}

// serve owns a cluster in dir until it is told to stop.
func serve(ctx context.Context, dir string, opts []kafkatest.Option) (err error) {
	if err := os.Chdir(dir); err != nil { // the path of a socket must be short
		return fmt.Errorf("kafka: %w", err)
	}
	if err := os.Remove(control); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("kafka: %w", err)
	}
	orders, err := net.Listen("unix", control)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	defer orders.Close()
	cluster, err := kafkatest.New(ctx, append(opts, kafkatest.Dir("."))...)
	if err != nil {
		return err
	}
	interrupted := context.AfterFunc(ctx, func() { orders.Close() })
	defer interrupted()
	fmt.Println(cluster.Bootstrap())
	for {
		conn, err := orders.Accept()
		if err != nil { // closed, by an interrupt
			return cluster.Stop()
		}
		order, _ := bufio.NewReader(conn).ReadString('\n')
		if order == "stop\n" {
			return errors.Join(cluster.Stop(), os.Remove(errorsName), orders.Close(), conn.Close()) // the socket is gone before who asked hears of it
		}
		fmt.Fprintln(conn, cluster.Bootstrap())
		conn.Close()
	}
}

// ask sends an order to the process that owns the cluster in dir and returns its answer, which for "stop" is empty and
// comes when the cluster has ended.
func ask(dir, order string) (answer string, err error) {
	back, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("kafka %s: %w", order, err)
	}
	if err := os.Chdir(dir); err != nil { // the path of a socket must be short
		return "", fmt.Errorf("kafka %s: no cluster in %s: %w", order, dir, err)
	}
	conn, err := net.Dial("unix", control)
	if back := os.Chdir(back); back != nil {
		return "", fmt.Errorf("kafka %s: %w", order, back)
	}
	if err != nil {
		return "", fmt.Errorf("kafka %s: no cluster runs in %s: %w", order, dir, err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, order); err != nil {
		return "", fmt.Errorf("kafka %s: %w", order, err)
	}
	said, err := io.ReadAll(conn)
	return string(said), err
}
