// Command millrace-operator runs applications of Millrace on Kubernetes: see docs/kubernetes.md.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/millrace/millrace/operator/api/v1alpha1"
	"github.com/millrace/millrace/operator/internal/controller"
	"github.com/millrace/millrace/operator/internal/desired"
	"github.com/millrace/millrace/operator/internal/pods"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "millrace-operator:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("millrace-operator", flag.ExitOnError)
	namespaces := f.String("namespaces", "", "`namespaces` to watch, with commas; all if empty")
	metricsAddress := f.String("metrics-address", ":8081", "`address` of metrics; 0 for none")
	healthAddress := f.String("health-address", ":8082", "`address` of /healthz and /readyz")
	elect := f.Bool("leader-election", true, "have one of several operators work, the others wait")
	level := slog.LevelInfo
	f.TextVar(&level, "log-level", slog.LevelInfo, "`level` from which on it is logged: DEBUG, INFO, WARN, ERROR")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: level})))

	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	ours, err := labels.NewRequirement(desired.ApplicationLabel, selection.Exists, nil)
	if err != nil {
		return err
	}
	of := cache.ByObject{Label: labels.NewSelector().Add(*ours)} // what others have need not be kept in memory
	watch := cache.Options{ByObject: map[client.Object]cache.ByObject{
		&appsv1.StatefulSet{}: of, &appsv1.ControllerRevision{}: of, &batchv1.Job{}: of, &policyv1.PodDisruptionBudget{}: of,
		&corev1.Pod{}: of, &corev1.Service{}: of, &corev1.ServiceAccount{}: of, &corev1.ConfigMap{}: of, &corev1.PersistentVolumeClaim{}: of,
	}}
	for name := range strings.SplitSeq(*namespaces, ",") {
		if name = strings.TrimSpace(name); name != "" {
			if watch.DefaultNamespaces == nil {
				watch.DefaultNamespaces = make(map[string]cache.Config)
			}
			watch.DefaultNamespaces[name] = cache.Config{}
		}
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	m, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Cache: watch, Metrics: metrics.Options{BindAddress: *metricsAddress}, HealthProbeBindAddress: *healthAddress,
		LeaderElection: *elect, LeaderElectionID: "millrace-operator.millrace.dev", LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return err
	}
	if err := ctrlmetrics.Registry.Register(&controller.Metrics{Client: m.GetClient()}); err != nil {
		return err
	}
	events := m.GetEventRecorder("millrace-operator")
	applications := &controller.Applications{Client: m.GetClient(), Secrets: m.GetAPIReader(), Programs: &pods.Client{}, Events: events, Now: time.Now}
	if err := applications.SetUp(m); err != nil {
		return err
	}
	if err := (&controller.Resets{Client: m.GetClient(), Events: events, Now: time.Now}).SetUp(m); err != nil {
		return err
	}
	if err := m.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return err
	}
	if err := m.AddReadyzCheck("readyz", healthz.Ping); err != nil {
		return err
	}
	return m.Start(ctrl.SetupSignalHandler())
}
