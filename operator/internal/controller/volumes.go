package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/api/v1alpha1"
	"github.com/millrace/millrace/operator/internal/desired"
)

// bindPatience is how long a claim may wait for its volume until that is said.
const bindPatience = 15 * time.Second

// volumes lets claims grow to what the spec says, and says what is wrong with them.
func (p *pass) volumes(ctx context.Context) error {
	if p.app.Spec.State.Storage.Type != v1alpha1.PersistentVolume {
		p.condition(v1alpha1.ConditionStorageReady, true, "Ephemeral", "state is kept with the pod, and restored from Kafka")
		return nil
	}
	size, err := resource.ParseQuantity(p.app.Spec.State.Storage.Size)
	if err != nil {
		return err
	}
	var list corev1.PersistentVolumeClaimList
	if err := p.Client.List(ctx, &list, client.InNamespace(p.app.Namespace), client.MatchingLabels{desired.ApplicationLabel: p.app.Name}); err != nil {
		return err
	}
	var bad []string
	for i := range list.Items {
		if why := p.claim(ctx, &list.Items[i], size); why != "" {
			bad = append(bad, why)
		}
	}
	if len(bad) > 0 {
		p.problem = strings.Join(bad, "; ")
		p.condition(v1alpha1.ConditionStorageReady, false, "ClaimNotReady", "%s", p.problem)
		return nil
	}
	p.condition(v1alpha1.ConditionStorageReady, true, "Ready", "all claims have their volumes")
	return p.regrow(ctx, size)
}

// claim lets a claim grow, and says what it lacks.
func (p *pass) claim(ctx context.Context, c *corev1.PersistentVolumeClaim, size resource.Quantity) string {
	asked := c.Spec.Resources.Requests[corev1.ResourceStorage]
	class := "the default storage class"
	if c.Spec.StorageClassName != nil {
		class = fmt.Sprintf("storage class %q", *c.Spec.StorageClassName)
	}
	if c.Status.Phase != corev1.ClaimBound {
		if p.now.Sub(c.CreationTimestamp.Time) < bindPatience {
			return ""
		}
		return fmt.Sprintf("claim %s has no volume yet: %s has to exist and to have room (kubectl describe pvc %s)", c.Name, class, c.Name)
	}
	if asked.Cmp(size) >= 0 {
		return ""
	}
	before := c.DeepCopy()
	c.Spec.Resources.Requests[corev1.ResourceStorage] = size
	if err := p.Client.Patch(ctx, c, client.MergeFrom(before)); err != nil {
		return fmt.Sprintf("claim %s cannot grow from %s to %s: %v; %s has to allow it (allowVolumeExpansion)", c.Name, asked.String(), size.String(), err, class)
	}
	p.event(corev1.EventTypeNormal, "VolumeExpanded", "Grow", "claim %s grows from %s to %s", c.Name, asked.String(), size.String())
	return ""
}

// regrow makes the StatefulSet again where its claims have grown, as what it says of claims cannot be changed. Its pods stay, and
// are the new one's. It is done only while nothing else is to be changed, since whoever begins after it knows no more than the spec.
func (p *pass) regrow(ctx context.Context, size resource.Quantity) error {
	if p.set == nil || len(p.set.Spec.VolumeClaimTemplates) == 0 || p.updates || p.scales || p.status.Revisions.Wanted != p.set.Spec.Template.Labels[desired.RevisionLabel] {
		return nil
	}
	if said := p.set.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests[corev1.ResourceStorage]; said.Cmp(size) >= 0 {
		return nil
	}
	p.again = "the StatefulSet is made again, with claims that are larger"
	err := p.Client.Delete(ctx, p.set, client.PropagationPolicy(metav1.DeletePropagationOrphan), client.Preconditions{UID: &p.set.UID})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}
