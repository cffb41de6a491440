// Command kubectl-millrace shows and steers applications of Millrace on Kubernetes: with it in the path, as `kubectl millrace`.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := command(&cluster{now: time.Now}).ExecuteContext(ctx); err != nil {
		os.Exit(1) // cobra has said why
	}
}

// A cluster is where applications are.
type cluster struct {
	kubeconfig, context, namespace string
	client                         client.Client // set by open, or by a test
	now                            func() time.Time
}

func command(c *cluster) *cobra.Command {
	root := &cobra.Command{
		Use: "kubectl-millrace", Short: "Show and steer applications of Millrace", SilenceUsage: true,
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl millrace"},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if c.client != nil {
				return nil
			}
			return c.open()
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "`file` that says how to reach the cluster")
	f.StringVar(&c.context, "context", "", "`name` of the context in it")
	f.StringVarP(&c.namespace, "namespace", "n", c.namespace, "`namespace` (default: that of the context)")
	root.AddCommand(statusCommand(c), whyCommand(c), historyCommand(c), resetCommand(c))
	root.AddCommand(actions(c)...)
	return root
}

// open connects as kubectl does.
func (c *cluster) open() error {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	config := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.context})
	if c.namespace == "" {
		var err error
		if c.namespace, _, err = config.Namespace(); err != nil {
			return err
		}
	}
	rest, err := config.ClientConfig()
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	c.client, err = client.New(rest, client.Options{Scheme: scheme})
	return err
}

// get returns an application.
func (c *cluster) get(ctx context.Context, name string) (*v1alpha1.StreamsApplication, error) {
	var app v1alpha1.StreamsApplication
	if err := c.client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, &app); err != nil {
		return nil, fmt.Errorf("application %q in namespace %q: %w", name, c.namespace, err)
	}
	return &app, nil
}
