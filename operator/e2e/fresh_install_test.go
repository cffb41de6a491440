//go:build k8s

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/api/v1alpha1"
	"github.com/millrace/millrace/serde"
)

// TestFreshInstall takes a cluster without anything of this to an application that counts, by the lines of the README alone, and from there
// to the operator. Only where Kafka is, and how images come to the nodes, is this cluster's.
func TestFreshInstall(t *testing.T) {
	if _, err := exec.LookPath("helm"); err != nil {
		t.Skip("there is no helm in the PATH")
	}
	forget(t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		for _, line := range []string{"helm uninstall orders --wait", "kubectl delete streamsapplication orders --wait", "helm uninstall millrace-operator --namespace millrace-system --wait"} {
			if out, err := shell(ctx, line); err != nil && !strings.Contains(out, "not found") {
				t.Errorf("%s: %v: %s", line, err, out)
			}
		}
		if err := installOperator(ctx); err != nil { // for the other tests
			t.Error(err)
		}
	})
	brokers, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(world.kafka.Bootstrap(), ",")...), kgo.ConsumeTopics("orders-by-customer"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer brokers.Close()
	if _, err := kadm.NewClient(brokers).CreateTopics(t.Context(), 4, 1, nil, "orders", "orders-by-customer"); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if out, err := shell(ctx, readme(t)); err != nil {
		said, _ := shell(context.Background(), "kubectl get pods,pvc --all-namespaces; kubectl describe pods; kubectl logs --prefix --selector app.kubernetes.io/instance=orders")
		t.Fatalf("the README's lines: %v: %s\n%s", err, out, said)
	}
	t.Logf("%6.1fs  the README's lines are done", time.Since(began).Seconds())

	counted := func(upTo int64) {
		t.Helper()
		const customers = 10
		for i := range 1000 {
			brokers.Produce(ctx, &kgo.Record{Topic: "orders", Key: fmt.Appendf(nil, "customer %d", i%customers), Value: []byte("an order")}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		last := make(map[string]int64)
		for done := 0; done < customers; {
			f := brokers.PollFetches(ctx)
			if ctx.Err() != nil {
				t.Fatalf("each customer should have %d orders: %v", upTo, last)
			}
			f.EachRecord(func(r *kgo.Record) {
				n, err := serde.Int64.Decode(r.Value)
				if err != nil {
					t.Error(err)
				}
				if last[string(r.Key)] = n; n == upTo {
					done++
				}
			})
		}
		t.Logf("%6.1fs  each of %d customers has %d orders", time.Since(began).Seconds(), customers, upTo)
	}
	counted(100)

	// The operator takes it over where it is.
	if out, err := shell(ctx, "helm uninstall orders --wait && sed s/kafka:9092/"+world.kafka.Outside()+"/ examples/orders/application.yaml | kubectl apply -f -"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	err = await(ctx, func() string {
		var app v1alpha1.StreamsApplication
		if err := world.client.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "orders"}, &app); err != nil {
			return err.Error()
		}
		return running(2)(&app)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%6.1fs  the operator runs it", time.Since(began).Seconds())
	counted(200)
}

// readme is the block of the README's part on Kubernetes, with what is this cluster's in it: Kafka, and instead of a registry a file for
// each image that is brought to the nodes.
func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(text), "\n## On Kubernetes\n")
	_, part, _ = strings.Cut(part, "```\n")
	part, _, _ = strings.Cut(part, "```")
	if pushed, installed := strings.Count(part, " -push "), strings.Count(part, "helm install "); pushed != 2 || installed != 2 || !strings.Contains(part, "=kafka:9092") {
		t.Fatalf("the README's part on Kubernetes pushes %d images and installs %d charts, with a Kafka of another name:\n%s", pushed, installed, part)
	}
	var lines strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(part, "=kafka:9092", "="+world.kafka.Outside())) {
		file := filepath.Join(t.TempDir(), "image.tar")
		if before, after, ok := strings.Cut(line, " -push "); ok {
			line = fmt.Sprintf("%s -o %s %s%s %s\n", before, file, after, load.optional(), file)
		}
		lines.WriteString(line)
	}
	return lines.String()
}

// shell runs lines in the root of the repository.
func shell(ctx context.Context, lines string) (string, error) {
	c := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", lines)
	c.Dir = "../.."
	return combined(c)
}

// forget takes from the cluster all that the operator is, its definitions too.
func forget(t *testing.T) {
	t.Helper()
	named := metav1.ObjectMeta{Name: operatorName}
	here := metav1.ObjectMeta{Name: operatorName, Namespace: operatorNamespace}
	objects := []client.Object{
		&appsv1.Deployment{ObjectMeta: here}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}},
		&rbacv1.ClusterRole{ObjectMeta: named}, &rbacv1.ClusterRoleBinding{ObjectMeta: named},
	}
	for _, kind := range []string{"streamsapplications", "streamsresets"} {
		objects = append(objects, &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: kind + ".millrace.dev"}})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, o := range objects {
		if err := world.client.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationForeground)); client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
	}
	for _, o := range objects {
		err := await(ctx, func() string {
			if err := world.client.Get(ctx, client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
				return fmt.Sprintf("%T %s is still there: %v", o, o.GetName(), err)
			}
			return ""
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
