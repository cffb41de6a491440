package controller

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/internal/desired"
)

// applied is what was applied last, and when: the same need not be applied again at once.
type applied struct {
	text       string
	generation int64
	at         time.Time
}

// again is how often what should be there already is applied again, for what others may have changed.
const again = 5 * time.Minute

// apply makes an object as it shall be, by server-side apply: fields that others own stay theirs.
func (p *pass) apply(ctx context.Context, o client.Object) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{Object: fields}
	delete(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(u.Object, "spec", "template", "metadata", "creationTimestamp")
	text, err := json.Marshal(u.Object)
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%s %s", u.GetKind(), u.GetName())
	last, done := p.memory.applied[key]
	if done && last.text == string(text) && p.now.Sub(last.at) < again && last.generation == p.generation(ctx, o) {
		return nil
	}
	if err := p.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(desired.Owner), client.ForceOwnership); err != nil {
		return err
	}
	p.memory.applied[key] = applied{string(text), u.GetGeneration(), p.now}
	return nil
}

// generation is that of an object in the cache; -1 if it is not there.
func (p *pass) generation(ctx context.Context, o client.Object) int64 {
	there := o.DeepCopyObject().(client.Object)
	if err := p.Client.Get(ctx, client.ObjectKeyFromObject(o), there); err != nil {
		return -1
	}
	return there.GetGeneration()
}

// companions makes what the pods need around them.
func (p *pass) companions(ctx context.Context) error {
	for _, o := range []client.Object{desired.ServiceAccount(p.app), desired.Service(p.app), desired.Budget(p.app)} {
		if err := p.apply(ctx, o); err != nil {
			return fmt.Errorf("the %s: %w", o.GetObjectKind().GroupVersionKind().Kind, err)
		}
	}
	return nil
}

// token is what the operator steers the programs with. It is made once.
func (p *pass) token(ctx context.Context) error {
	if p.memory.token != "" {
		return nil
	}
	key := types.NamespacedName{Namespace: p.app.Namespace, Name: desired.TokenSecret(p.app.Name)}
	var s corev1.Secret
	err := p.Secrets.Get(ctx, key, &s)
	if apierrors.IsNotFound(err) {
		s = corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: key.Name, Namespace: key.Namespace, Labels: map[string]string{desired.ApplicationLabel: p.app.Name}, OwnerReferences: desired.Service(p.app).OwnerReferences},
			Data:       map[string][]byte{"token": []byte(rand.Text())},
		}
		err = p.Client.Create(ctx, &s)
	}
	if err != nil {
		return fmt.Errorf("the token's secret: %w", err)
	}
	if p.memory.token = string(s.Data["token"]); p.memory.token == "" {
		return fmt.Errorf("secret %s has no token; delete it, and a new one is made when pods are restarted", key.Name)
	}
	return nil
}
