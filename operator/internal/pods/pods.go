// Package pods talks to the programs in pods: what they say of themselves, and what they are asked to do.
package pods

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/millrace/millrace/operator/internal/desired"
	"github.com/millrace/millrace/streams"
)

// patience is how long a program may take to answer.
const patience = 3 * time.Second

// largest is how many bytes a report may have: 1,000 tasks have less than a tenth of it.
const largest = 64 << 20

// Client asks over HTTP.
type Client struct{ HTTP http.Client }

// Report asks a pod's program for its report.
func (c *Client) Report(ctx context.Context, pod *corev1.Pod, token string) (*streams.Report, error) {
	body, err := c.do(ctx, http.MethodGet, pod, token, "/status")
	if err != nil {
		return nil, err
	}
	var r streams.Report
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("%s answers with something else than a report: %w", pod.Name, err)
	}
	return &r, nil
}

// Ask asks a pod's program to do something: a path of docs/status.md.
func (c *Client) Ask(ctx context.Context, pod *corev1.Pod, token, path string) error {
	_, err := c.do(ctx, http.MethodPost, pod, token, path)
	return err
}

func (c *Client) do(ctx context.Context, method string, pod *corev1.Pod, token, path string) ([]byte, error) {
	if pod.Status.PodIP == "" {
		return nil, fmt.Errorf("%s has no address yet", pod.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	url := "http://" + net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(desired.Port)) + path
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, largest))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s answers %s to %s %s: %s", pod.Name, resp.Status, method, path, bytes.TrimSpace(body))
	}
	return body, nil
}
