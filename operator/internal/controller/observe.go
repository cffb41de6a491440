package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/millrace/millrace/operator/internal/decide"
	"github.com/millrace/millrace/operator/internal/desired"
)

// observe looks at the StatefulSet and its pods, and asks their programs.
func (p *pass) observe(ctx context.Context) error {
	var set appsv1.StatefulSet
	switch err := p.Client.Get(ctx, client.ObjectKeyFromObject(p.app), &set); {
	case err == nil:
		p.set = &set
	case !apierrors.IsNotFound(err):
		return err
	}
	var list corev1.PodList
	if err := p.Client.List(ctx, &list, client.InNamespace(p.app.Namespace), client.MatchingLabels(desired.Selector(p.app.Name))); err != nil {
		return err
	}
	if err := p.token(ctx); err != nil {
		return err
	}
	p.pods = make(map[string]*corev1.Pod)
	var asked sync.WaitGroup
	p.view = make([]decide.Pod, len(list.Items))
	for i := range list.Items {
		pod := &list.Items[i]
		p.pods[pod.Name] = pod
		asked.Go(func() { p.view[i] = p.look(ctx, pod) })
	}
	asked.Wait()
	slices.SortFunc(p.view, func(x, y decide.Pod) int { return cmp.Compare(x.Ordinal, y.Ordinal) })
	p.remember()
	return nil
}

func (p *pass) look(ctx context.Context, pod *corev1.Pod) decide.Pod {
	v := decide.Pod{
		Name: pod.Name, Ordinal: ordinal(pod.Name), Revision: pod.Labels[desired.RevisionLabel], Node: pod.Spec.NodeName, Created: pod.CreationTimestamp.Time,
		Ready: ready(pod), Leaving: !pod.DeletionTimestamp.IsZero(), Trouble: trouble(pod, p.now),
	}
	if pod.Status.Phase == corev1.PodRunning {
		if r, err := p.Programs.Report(ctx, pod, p.memory.token); err == nil {
			v.Report = r
		}
	}
	return v
}

// ordinal is the number at the end of a pod's name; -1 if there is none.
func ordinal(pod string) int {
	n, err := strconv.Atoi(pod[strings.LastIndexByte(pod, '-')+1:])
	if err != nil {
		return -1
	}
	return n
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// crashes is how often a program has to end in vain until it is no use to wait for it.
const crashes = 3

// trouble is what Kubernetes knows about why a pod does not run.
func trouble(pod *corev1.Pod, now time.Time) decide.Trouble {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return decide.Trouble{What: "cannot be placed on a node: " + c.Message}
		}
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if s.State.Running != nil && (s.Name != desired.Container || s.RestartCount < crashes || s.Ready) {
			continue
		}
		if w := s.State.Waiting; w != nil {
			switch w.Reason {
			case "InvalidImageName":
				return decide.Trouble{What: fmt.Sprintf("has no image: %s", w.Message), Hopeless: true}
			case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull":
				old := now.Sub(pod.CreationTimestamp.Time) > imagePatience
				return decide.Trouble{What: fmt.Sprintf("cannot get the image %s (is that its name, and does podTemplate have the imagePullSecrets that it needs?): %s", s.Image, w.Message), Hopeless: old && w.Reason != "ErrImagePull"}
			case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
				return decide.Trouble{What: fmt.Sprintf("cannot start: %s", w.Message)}
			}
		}
		if t := cmp.Or(s.State.Terminated, s.LastTerminationState.Terminated); t != nil && (s.RestartCount > 0 || s.State.Terminated != nil) {
			return decide.Trouble{What: fmt.Sprintf("ended with status %d, %d times: %s", t.ExitCode, s.RestartCount+1, lastLine(cmp.Or(t.Message, t.Reason))), Hopeless: s.RestartCount >= crashes}
		}
	}
	return decide.Trouble{}
}

// lastLine is what a program said last: of many lines the end counts.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	line := lines[len(lines)-1]
	if len(line) > 500 {
		line = line[:500] + "..."
	}
	return line
}

// remember notes when pods changed last, and what they had to do.
func (p *pass) remember() {
	var b strings.Builder
	load := decide.Load{At: p.now, Pods: make(map[string]decide.Work)}
	all := p.set != nil && p.set.Spec.Replicas != nil && len(p.view) == int(*p.set.Spec.Replicas)
	partitions := make(map[string]bool)
	for _, v := range p.view {
		fmt.Fprintf(&b, "%s %s %v", v.Name, v.Revision, v.Works())
		if all = all && v.Works(); v.Report == nil {
			continue
		}
		r := v.Report
		fmt.Fprintf(&b, " %s %d\n", r.Process, r.Rebalances)
		load.Pods[v.Name] = decide.Work{Process: fmt.Sprint(r.Process, p.pods[v.Name].UID, restarts(p.pods[v.Name])), Processed: r.Processed, Busy: r.BusySeconds, Workers: r.Workers}
		for _, t := range r.Tasks {
			for _, in := range t.Inputs {
				at := fmt.Sprintf("%s-%d", in.Topic, in.Partition)
				partitions[at] = true
				load.Lag += in.Lag
				if in.Lag > load.Hottest {
					load.Hottest, load.Where = in.Lag, at
				}
			}
		}
	}
	load.Inputs = len(partitions)
	if b.String() != p.memory.signature {
		p.memory.signature, p.memory.quietSince, p.memory.loads = b.String(), p.now, nil
	}
	if all {
		keep := p.now.Add(-p.app.Spec.Autoscaling.Window.Duration - later - soon)
		p.memory.loads = slices.DeleteFunc(append(p.memory.loads, load), func(l decide.Load) bool { return l.At.Before(keep) })
	}
}

func restarts(pod *corev1.Pod) (n int32) {
	for _, s := range pod.Status.ContainerStatuses {
		n += s.RestartCount
	}
	return n
}
