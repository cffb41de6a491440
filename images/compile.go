package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// compile builds the program for a platform, static and the same each time, and returns the file. It is named as the program is.
func compile(ctx context.Context, o options, p v1.Platform, dir string) (string, error) {
	where, pkg := "", o.pkg
	if info, err := os.Stat(o.pkg); err == nil && info.IsDir() {
		where, pkg = o.pkg, "."
	}
	named, err := output(ctx, where, nil, "go", "list", "-f", "{{.Name}} {{.ImportPath}}", pkg)
	if err != nil {
		return "", fmt.Errorf("%s: %w", o.pkg, err)
	}
	kind, path, _ := strings.Cut(strings.TrimSpace(named), " ")
	if kind != "main" {
		return "", fmt.Errorf("%s is package %s: a program is a package main", o.pkg, kind)
	}
	file := filepath.Join(dir, strings.ReplaceAll(p.String(), "/", "-"), program(path))
	env := []string{"CGO_ENABLED=0", "GOOS=" + p.OS, "GOARCH=" + p.Architecture}
	if n, ok := strings.CutPrefix(p.Variant, "v"); ok && p.Architecture == "arm" {
		env = append(env, "GOARM="+n)
	}
	args := []string{"build", "-trimpath", "-ldflags", strings.TrimSpace("-s -w " + o.ldflags), "-tags", o.tags, "-o", file, pkg}
	if _, err := output(ctx, where, env, "go", args...); err != nil {
		return "", fmt.Errorf("building %s for %s: %w", o.pkg, p, err)
	}
	return file, nil
}

// program is the name of the program at an import path: its last element that is no version.
func program(path string) string {
	base := filepath.Base(path)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		return filepath.Base(filepath.Dir(path))
	}
	return base
}

func output(ctx context.Context, dir string, env []string, command string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, command, args...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	var said strings.Builder
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}
