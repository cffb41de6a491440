package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/millrace/millrace/operator/api/v1alpha1"
	"github.com/millrace/millrace/operator/internal/desired"
)

// imagePatience is how long a pod's image may not be there before that is a failure.
const imagePatience = 30 * time.Second

// condition says one thing about the application, and since when.
func (p *pass) condition(kind string, is bool, reason, format string, args ...any) {
	status := metav1.ConditionFalse
	if is {
		status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&p.status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: shorten(fmt.Sprintf(format, args...)), ObservedGeneration: p.app.Generation,
		LastTransitionTime: metav1.NewTime(p.now),
	})
}

// shorten keeps to what a message of a condition may have.
func shorten(s string) string {
	if len(s) > 2000 {
		return s[:2000] + "..."
	}
	return s
}

// validate says whether what the spec names is there, and whether its parts make sense together: what rules of the API cannot see.
func (p *pass) validate(ctx context.Context) (bool, error) {
	var missing []string
	needed := desired.Secrets(p.app)
	for _, name := range slices.Sorted(maps.Keys(needed)) {
		var s corev1.Secret
		switch err := p.Secrets.Get(ctx, types.NamespacedName{Namespace: p.app.Namespace, Name: name}, &s); {
		case apierrors.IsNotFound(err):
			missing = append(missing, fmt.Sprintf("there is no secret %q in namespace %s: create it with %s", name, p.app.Namespace, strings.Join(needed[name], ", ")))
		case err != nil:
			return false, err
		}
		for _, key := range needed[name] {
			if _, has := s.Data[key]; !has && s.Name != "" {
				missing = append(missing, fmt.Sprintf("secret %q has no key %q: add it", name, key))
			}
		}
	}
	if _, err := desired.Template(p.app); err != nil {
		missing = append(missing, err.Error())
	}
	if len(missing) > 0 {
		p.problem = strings.Join(missing, "; ")
		p.condition(v1alpha1.ConditionConfigValid, false, "Invalid", "%s", p.problem)
		return false, nil
	}
	p.condition(v1alpha1.ConditionConfigValid, true, "Valid", "what the spec names is there")
	return true, nil
}

// useful says whether all pods have something to do, and all standbys a pod.
func (p *pass) useful(replicas int32) {
	s := p.app.Spec.Streams
	if replicas > 0 && s.StandbyReplicas >= replicas {
		p.condition(v1alpha1.ConditionReplicasUseful, false, "TooFewForStandbys", "%d standbys of each task need %d pods, and there are %d: raise replicas, or lower streams.standbyReplicas",
			s.StandbyReplicas, s.StandbyReplicas+1, replicas)
		return
	}
	if t := p.status.Topology; t != nil && t.MaxUsefulReplicas > 0 && replicas > t.MaxUsefulReplicas {
		p.condition(v1alpha1.ConditionReplicasUseful, false, "MoreThanTasks", "%d pods are more than %d tasks can use: lower replicas to %d, or add partitions to the input",
			replicas, t.Tasks, t.MaxUsefulReplicas)
		return
	}
	p.condition(v1alpha1.ConditionReplicasUseful, true, "Useful", "all pods have tasks")
}
