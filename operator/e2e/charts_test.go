//go:build k8s

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/api/v1alpha1"
)

// TestCharts goes from images to running applications by the lines of the documentation: images from scratch, an application by its chart, which
// is updated and reset, and one by the operator's, of one namespace.
func TestCharts(t *testing.T) {
	if _, err := exec.LookPath("helm"); err != nil {
		t.Skip("there is no command helm")
	}
	s := newScene(t)
	dir := t.TempDir()
	for image, program := range map[string]string{"millrace.test/orders:1.4.2": "../examples/orders", "millrace.test/chart-operator:1": "../operator/cmd/millrace-operator"} {
		file := filepath.Join(dir, filepath.Base(program)+".tar")
		s.run("../../images", "go", "run", ".", "-image", image, "-o", file, program)
		s.do(load, file)
	}
	k := s.orders()

	install := []string{
		"orders", "streams-app", "--namespace", s.namespace, "--wait", "--timeout", "2m", "--set", "image=millrace.test/orders,imageTag=1.4.2,kafka.applicationId=" + s.namespace,
		"--set", "kafka.bootstrapServers=" + strings.ReplaceAll(world.kafka.Outside(), ",", `\,`),
		"--set", `streams.config.commit\.interval\.ms=1000`, "--set", "replicaCount=2,minReadySeconds=1,streams.standbyReplicas=1,persistence.size=1Gi,resources.requests.cpu=20m,resources.limits.memory=256Mi",
	}
	s.run("../../charts", "helm", append([]string{"install"}, install...)...)
	k.send(t, 1000)
	k.counted(s)

	before := uids(s.pods())
	s.run("../../charts", "helm", append([]string{"upgrade"}, append(install, "--set", "podAnnotations.updated=once")...)...)
	s.until("all pods are replaced", time.Minute, func() (lacks string) {
		for name, p := range s.pods() {
			if p.UID == before[name] || !ready(p) {
				return name + " is not"
			}
		}
		return ""
	})
	k.send(t, 1000)
	k.counted(s)

	s.run("../../charts", "helm", append([]string{"upgrade"}, append(install, "--set", "reset.mode=run,reset.force=true")...)...)
	offsets, err := k.admin.FetchOffsets(t.Context(), s.namespace)
	if err != nil {
		t.Fatal(err)
	}
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.At != 0 {
			t.Errorf("after the reset %s-%d is at %d", o.Topic, o.Partition, o.At)
		}
	})
	s.until("the volumes are gone", time.Minute, func() (lacks string) {
		var claims corev1.PersistentVolumeClaimList
		if err := world.client.List(t.Context(), &claims, client.InNamespace(s.namespace)); err != nil {
			return err.Error()
		}
		if len(claims.Items) > 0 {
			return fmt.Sprintf("there are %d", len(claims.Items))
		}
		return ""
	})
	k.forget()
	s.run("../../charts", "helm", append([]string{"upgrade"}, install...)...)
	k.counted(s)

	aside(s)
	s.run("../../charts", "helm", "install", "operator", "millrace-operator", "--namespace", s.namespace, "--wait", "--timeout", "1m",
		"--set", "watchNamespaces={"+s.namespace+"},crds.install=false,replicas=1,image.repository=millrace.test/chart-operator,image.tag=1")
	s.application(2, func(spec *v1alpha1.StreamsApplicationSpec) {
		spec.ApplicationID, spec.Image, spec.Env = s.namespace+"-2", "millrace.test/orders:1.4.2", nil
	})
	s.untilApp("the operator that the chart installed runs an application", 2*time.Minute, running(2))
}

// run runs a command in a folder.
func (s *scene) run(dir, command string, args ...string) {
	s.Helper()
	began := time.Now()
	c := exec.CommandContext(s.Context(), command, args...)
	c.Dir = dir
	out, err := combined(c)
	if err != nil {
		s.Fatalf("%s %s: %v\n%s", command, strings.Join(args, " "), err, out)
	}
	s.Logf("%6.1fs  %s %s", time.Since(began).Seconds(), command, strings.Join(args[:min(3, len(args))], " "))
}

// aside has the operator of the other tests wait until this one is over.
func aside(s *scene) {
	s.Helper()
	scale := func(ctx context.Context, replicas int32) error {
		d := &appsv1.Deployment{}
		if err := world.client.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: operatorName}, d); err != nil {
			return err
		}
		before := d.DeepCopy()
		d.Spec.Replicas = &replicas
		if err := world.client.Patch(ctx, d, client.MergeFrom(before)); err != nil {
			return err
		}
		return await(ctx, func() string {
			if err := world.client.Get(ctx, client.ObjectKeyFromObject(d), d); err != nil {
				return err.Error()
			}
			if d.Status.ObservedGeneration < d.Generation || d.Status.Replicas != replicas || d.Status.ReadyReplicas != replicas {
				return fmt.Sprintf("the operator has %d pods", d.Status.Replicas)
			}
			return ""
		})
	}
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	if err := scale(ctx, 0); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := scale(ctx, 1); err != nil {
			s.Error(err)
		}
	})
}

// orders are the topics of examples/orders, and what went into them.
type orders struct {
	client *kgo.Client
	admin  *kadm.Client
	sent   map[string]int64
	got    map[string]int64
}

func (s *scene) orders() *orders {
	s.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(world.kafka.Bootstrap(), ",")...), kgo.ConsumeTopics("orders-by-customer"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(c.Close)
	k := &orders{client: c, admin: kadm.NewClient(c), sent: make(map[string]int64), got: make(map[string]int64)}
	for _, topic := range []string{"orders", "orders-by-customer"} {
		if _, err := k.admin.CreateTopic(s.Context(), 4, 1, nil, topic); err != nil {
			s.Fatal(err)
		}
	}
	s.Cleanup(func() { _, _ = k.admin.DeleteTopics(context.Background(), "orders", "orders-by-customer") })
	return k
}

// send sends so many orders, of a hundred customers.
func (k *orders) send(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		customer := strconv.Itoa(i % 100)
		k.sent[customer]++
		k.client.Produce(t.Context(), &kgo.Record{Topic: "orders", Key: []byte(customer), Value: []byte("an order")}, nil)
	}
	if err := k.client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// forget has counted wait for all counts anew.
func (k *orders) forget() { clear(k.got) }

// counted waits until the last count of each customer is how many orders were sent.
func (k *orders) counted(s *scene) {
	s.Helper()
	s.until("each customer's orders are counted", time.Minute, func() (lacks string) {
		ctx, cancel := context.WithTimeout(s.Context(), time.Second)
		defer cancel()
		k.client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			var n int64
			for _, b := range r.Value {
				n = n<<8 | int64(b)
			}
			k.got[string(r.Key)] = n
		})
		for customer, n := range k.sent {
			if k.got[customer] != n {
				return fmt.Sprintf("customer %s has %d of %d", customer, k.got[customer], n)
			}
		}
		return ""
	})
}
