//go:build k8s

package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The images. Those of the application have one program, and differ in what they tell it.
const (
	operatorImage   = "millrace.test/operator:1"
	firstImage      = "millrace.test/app:1"
	secondImage     = "millrace.test/app:2"
	brokenImage     = "millrace.test/app:broken"
	otherStoreImage = "millrace.test/app:other-store"
)

// buildImages builds the programs, and puts them into images in a tarball, as docker save does.
func buildImages(ctx context.Context, arch string) (file string, err error) {
	dir, err := os.MkdirTemp("", "millrace-images-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	build := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", dir+"/", "./app", "../cmd/millrace-operator")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the programs cannot be built: %w: %s", err, out)
	}
	f, err := os.CreateTemp("", "millrace-images-*.tar")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	a := &archive{out: tar.NewWriter(f), arch: arch, layers: make(map[string]string)}
	err = errors.Join(
		a.add(operatorImage, filepath.Join(dir, "millrace-operator"), ""),
		a.add(firstImage, filepath.Join(dir, "app"), ""),
		a.add(secondImage, filepath.Join(dir, "app"), ""),
		a.add(brokenImage, filepath.Join(dir, "app"), "broken"),
		a.add(otherStoreImage, filepath.Join(dir, "app"), "other-store"),
		a.close())
	return f.Name(), err
}

// archive is a tarball of images, each of one static program and nothing else.
type archive struct {
	out    *tar.Writer
	arch   string
	layers map[string]string // by program
	images []map[string]any
}

// add adds an image that runs a program as nobody in particular.
func (a *archive) add(name, program, variant string) error {
	layer, ok := a.layers[program]
	if !ok {
		text, err := tarOf(program)
		if err != nil {
			return err
		}
		layer = digest(text)
		a.layers[program] = layer
		if err := put(a.out, layer+".tar", 0o644, text); err != nil {
			return err
		}
	}
	config, err := json.Marshal(map[string]any{
		"architecture": a.arch, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/" + filepath.Base(program)}, "User": "65532:65532", "Env": []string{"E2E_VARIANT=" + variant, "E2E_IMAGE=" + name}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layer}},
	})
	if err != nil {
		return err
	}
	a.images = append(a.images, map[string]any{"Config": digest(config) + ".json", "RepoTags": []string{name}, "Layers": []string{layer + ".tar"}})
	return put(a.out, digest(config)+".json", 0o644, config)
}

func (a *archive) close() error {
	manifest, err := json.Marshal(a.images)
	if err != nil {
		return err
	}
	return errors.Join(put(a.out, "manifest.json", 0o644, manifest), a.out.Close())
}

// tarOf is a layer with a program in the root.
func tarOf(program string) ([]byte, error) {
	text, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err = errors.Join(put(w, filepath.Base(program), 0o755, text), w.Close())
	return b.Bytes(), err
}

func put(w *tar.Writer, name string, mode int64, text []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := w.Write(text)
	return err
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
