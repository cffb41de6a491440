package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// build builds testdata/program as the command does, and returns the archive.
func build(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	certs := filepath.Join(dir, "certs.pem")
	if err := os.WriteFile(certs, []byte("certificates"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "image.tar")
	args = append([]string{"-image", "krig.local/program:7", "-platform", "linux/amd64", "-certs", certs, "-o", out}, args...)
	if err := run(t.Context(), append(args, "testdata/program")); err != nil {
		t.Fatal(err)
	}
	return out
}

// files are what is in the layers of an image.
func files(t *testing.T, image v1.Image) map[string]*tar.Header {
	t.Helper()
	all := make(map[string]*tar.Header)
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for in := tar.NewReader(r); ; {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			all["/"+h.Name] = h
			if h.Name != "program" {
				continue
			}
			text, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			binary, err := elf.NewFile(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
				t.Error("the program is not static")
			}
		}
	}
	return all
}

func TestImage(t *testing.T) {
	out := build(t, "-label", "team=shop", "-ldflags", "-X main.version=7")
	image, err := tarball.ImageFromPath(out, nil) // as docker load reads it
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := config.Config
	if !slices.Equal(c.Entrypoint, []string{"/program"}) || c.User != "65532:65532" || config.OS != "linux" || config.Architecture != "amd64" {
		t.Errorf("the config is %+v", config)
	}
	if c.Labels["team"] != "shop" || c.Labels["org.opencontainers.image.title"] != "program" || c.Labels["org.opencontainers.image.version"] != "7" {
		t.Errorf("the labels are %v", c.Labels)
	}
	all := files(t, image)
	for name, mode := range map[string]int64{"/program": 0o755, certificates: 0o644, "/etc/passwd": 0o644, "/tmp/": 0o1777} {
		h, ok := all[name]
		if !ok || h.Mode != mode || h.Uid != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%s is %+v", name, h)
		}
	}
	if len(all) != 7 {
		t.Errorf("the image has %d files: %v", len(all), all)
	}
}

// TestLayout reads the archive as containerd does.
func TestLayout(t *testing.T) {
	out := build(t)
	dir := t.TempDir()
	if said, err := exec.Command("tar", "-xf", out, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Manifests[0].Annotations["io.containerd.image.name"]; got != "krig.local/program:7" {
		t.Errorf("containerd would name it %q", got)
	}
}

func TestNameWithoutARegistry(t *testing.T) {
	for given, want := range map[string]string{
		"orders:1": "docker.io/library/orders:1", "shop/orders": "docker.io/shop/orders:latest", "krig.local/orders:1": "krig.local/orders:1",
	} {
		tag, err := name.NewTag(given)
		if err != nil {
			t.Fatal(err)
		}
		if got := full(tag); got != want {
			t.Errorf("%s is %s, not %s", given, got, want)
		}
	}
}

func TestSameInputGivesTheSameArchive(t *testing.T) {
	first, err := os.ReadFile(build(t))
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(build(t))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("a second build gives another archive")
	}
	third, err := os.ReadFile(build(t, "-ldflags", "-X main.version=8"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first, third) {
		t.Error("another program gives the same archive")
	}
}

func decode(t *testing.T, text []byte) *cdx.BOM {
	t.Helper()
	b := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBillListsModules(t *testing.T) {
	text, err := os.ReadFile(strings.TrimSuffix(build(t), ".tar") + ".cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	b := decode(t, text)
	if main := b.Metadata.Component; main.Name != "program" || main.Type != cdx.ComponentTypeApplication || len(*main.Hashes) != 1 {
		t.Errorf("the program is %+v", main)
	}
	var urls []string
	for _, c := range *b.Components {
		urls = append(urls, c.PackageURL)
	}
	// What testdata/program imports, by the go.mod beside this file.
	gomod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(gomod), "github.com/google/go-containerregistry ")
	version, _, _ := strings.Cut(rest, "\n")
	if !strings.HasPrefix(urls[0], "pkg:golang/std@1.") || !slices.Contains(urls, "pkg:golang/github.com/google/go-containerregistry@"+version) {
		t.Errorf("it is made of %q", urls)
	}
	if d := (*b.Dependencies)[0]; d.Ref != "program" || !slices.Equal(*d.Dependencies, urls) {
		t.Errorf("it depends on %v", d)
	}
}

func TestSeveralPlatforms(t *testing.T) {
	out := build(t, "-platform", "linux/amd64,linux/arm64")
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := make(map[string][]byte)
	for in := tar.NewReader(f); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := found[h.Name]; twice {
			t.Errorf("%s is in the archive twice", h.Name)
		}
		if found[h.Name], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
	}
	var top, index v1.IndexManifest
	if err := json.Unmarshal(found["index.json"], &top); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(found[place(top.Manifests[0].Digest)], &index); err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range index.Manifests {
		platforms = append(platforms, m.Platform.String())
		if found[place(m.Digest)] == nil {
			t.Errorf("the image for %s is not in the archive", m.Platform)
		}
	}
	if !slices.Equal(platforms, []string{"linux/amd64", "linux/arm64"}) {
		t.Errorf("the platforms are %q", platforms)
	}
	for _, p := range []string{"amd64", "arm64"} {
		if _, err := os.Stat(strings.TrimSuffix(out, ".tar") + "-linux-" + p + ".cdx.json"); err != nil {
			t.Error(err)
		}
	}
}

func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	t.Chdir(t.TempDir())
	program := filepath.Join(here(t), "testdata/program")
	image := strings.TrimPrefix(server.URL, "http://") + "/shop/program:7"
	if err := run(t.Context(), []string{"-image", image, "-platform", "linux/amd64", "-push", program}); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(image)
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := remote.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := pushed.Digest()
	if err != nil {
		t.Fatal(err)
	}
	referrers, err := remote.Referrers(tag.Digest(digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	m, err := referrers.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) != 1 || m.Manifests[0].ArtifactType != string(cycloneDX) {
		t.Fatalf("what refers to the image is %+v", m.Manifests)
	}
	artifact, err := remote.Image(tag.Digest(m.Manifests[0].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := artifact.Layers()
	if err != nil {
		t.Fatal(err)
	}
	r, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if b := decode(t, text); b.Metadata.Component.Name != "program" {
		t.Errorf("it says what %s is made of", b.Metadata.Component.Name)
	}
	beside, err := os.ReadFile("program.cdx.json")
	if err != nil || !bytes.Equal(beside, text) {
		t.Errorf("the file beside it says something else (%v)", err)
	}
}

// where is the folder of this package, before a test goes elsewhere.
var where, _ = os.Getwd()

func here(t *testing.T) string {
	t.Helper()
	if where == "" {
		t.Fatal("there is no working directory")
	}
	return where
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"."}, "-image is missing"},
		{[]string{"-image", "x"}, "name one PACKAGE"},
		{[]string{"-image", "x", "."}, "say where the image goes: -o FILE, or -push"},
		{[]string{"-image", "X:y", "-o", "x.tar", "."}, "-image: "},
		{[]string{"-image", "x", "-o", "x.tar", "-platform", "amd64", "."}, `-platform: "amd64" is none: write it as linux/amd64`},
		{[]string{"-image", "x", "-o", "x.tar", "../topology"}, "../topology is package topology: a program is a package main"},
		{[]string{"-image", "x", "-o", "x.tar", "./nowhere"}, "./nowhere: "},
		{[]string{"-image", "x", "-o", "x.tar", "-label", "a", "."}, "want name=value"},
	} {
		err := run(t.Context(), c.args)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, which does not say %q", c.args, err, c.want)
		}
	}
}
