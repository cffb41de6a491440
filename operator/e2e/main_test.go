//go:build k8s

// Package e2e shows what the operator does on a real Kubernetes, with a real Kafka beside it: exactly once, under load, with each
// output compared with what went in.
//
// It takes any cluster of two nodes that KUBECONFIG names, and runs Kafka on this machine. What depends on the cluster comes from the
// environment; the script with-rig sets it for one kind of cluster.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// The environment. Commands are of a shell, which puts the arguments behind them.
var (
	load   = variable{"MILLRACE_K8S_LOAD", "a command that has all nodes know the images in a tarball, its argument: kind load image-archive"}
	host   = variable{"MILLRACE_K8S_KAFKA_HOST", "the host at which pods reach this machine"}
	expose = variable{"MILLRACE_K8S_EXPOSE", "a command that lets pods reach 127.0.0.1 at a port, its argument, and runs as long; without it Kafka listens at all addresses"}
	power  = variable{"MILLRACE_K8S_NODE", "a command that takes a node's power, or gives it back where it has none: its arguments are kill or start, and the node's name"}
	bounce = variable{"MILLRACE_K8S_RESTART_API", "a command that ends the API server and starts it again"}
)

// A variable of the environment, and what it shall say.
type variable struct{ name, what string }

func (v variable) optional() string { return os.Getenv(v.name) }

// needed is its value, and fails the test where there is none.
func (v variable) needed(t testing.TB) string {
	t.Helper()
	if v.optional() == "" {
		t.Fatal(v.missing())
	}
	return v.optional()
}

func (v variable) missing() error { return fmt.Errorf("%s is not set: it is %s", v.name, v.what) }

// command is a command of the environment, with arguments.
func (v variable) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "sh", append([]string{"-c", "exec " + v.optional() + ` "$@"`, "sh"}, args...)...)
}

// world is what all tests share.
var world struct {
	config *rest.Config
	client client.Client
	logs   kubernetes.Interface
	kafka  *kafkatest.Cluster
	// doomed is the node that may be killed: the last by name. The operator is kept away from it.
	doomed string
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	began := time.Now()
	end, err := setUp(ctx)
	defer end()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	fmt.Printf("set up in %v\n", time.Since(began).Round(time.Second/10))
	return m.Run()
}

// setUp starts Kafka, brings images to the nodes, and has the operator run. What it returns undoes that, but for the operator, which
// is replaced the next time.
func setUp(ctx context.Context) (end func(), err error) {
	var undo []func()
	end = func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
	for _, v := range []variable{load, host} {
		if v.optional() == "" {
			return end, v.missing()
		}
	}
	arch, err := connect(ctx)
	if err != nil {
		return end, err
	}
	kafka := make(chan error, 1)
	go func() {
		k, err := startKafka(ctx)
		world.kafka = k
		kafka <- err
	}()
	file, err := buildImages(ctx, arch)
	err = errors.Join(err, <-kafka)
	if world.kafka != nil {
		undo = append(undo, func() { _ = world.kafka.Stop() })
	}
	if err != nil {
		return end, err
	}
	undo = append(undo, func() { os.Remove(file) })
	if out, err := load.command(ctx, file).CombinedOutput(); err != nil {
		return end, fmt.Errorf("the images do not come to the nodes: %s: %w: %s", load.name, err, out)
	}
	stop, err := openKafka(ctx)
	undo = append(undo, stop)
	if err != nil {
		return end, err
	}
	return end, installOperator(ctx)
}

// connect finds the cluster, and what its nodes are.
func connect(ctx context.Context) (arch string, err error) {
	if os.Getenv("KUBECONFIG") == "" {
		return "", errors.New("KUBECONFIG is not set: it names the file that says where the cluster is. Take one for tests: the operator is installed there")
	}
	if world.config, err = clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG")); err != nil {
		return "", err
	}
	world.config.QPS = -1
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return "", err
		}
	}
	if world.client, err = client.New(world.config, client.Options{Scheme: scheme}); err != nil {
		return "", err
	}
	if world.logs, err = kubernetes.NewForConfig(world.config); err != nil {
		return "", err
	}
	var nodes corev1.NodeList
	if err := world.client.List(ctx, &nodes); err != nil {
		return "", fmt.Errorf("the cluster that KUBECONFIG names does not answer: %w", err)
	}
	var names []string
	for _, n := range nodes.Items {
		names = append(names, n.Name)
	}
	if slices.Sort(names); len(names) < 2 {
		return "", fmt.Errorf("the cluster has the nodes %v; the tests need two", names)
	}
	world.doomed = names[len(names)-1]
	return nodes.Items[0].Status.NodeInfo.Architecture, nil
}

func startKafka(ctx context.Context) (*kafkatest.Cluster, error) {
	listen := "0.0.0.0"
	if expose.optional() != "" {
		listen = "127.0.0.1"
	}
	return kafkatest.New(ctx, kafkatest.Outside(listen, host.optional()))
}

// openKafka lets pods reach Kafka.
func openKafka(ctx context.Context) (stop func(), err error) {
	stop = func() {}
	if expose.optional() == "" {
		return stop, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	_, port, _ := strings.Cut(world.kafka.Outside(), ":")
	c := expose.command(ctx, port)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		cancel()
		return stop, fmt.Errorf("%s: %w", expose.name, err)
	}
	return func() { cancel(); _ = c.Wait() }, nil
}
