package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// archive writes images into a file that is both a layout of OCI, for containerd (and kind), and what docker load takes, which knows one
// platform only: the first.
func archive(path string, tag name.Tag, built []made, index v1.ImageIndex) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := &writer{tar: tar.NewWriter(f)}
	err = w.layout(tag, built, index)
	return errors.Join(err, w.tar.Close(), f.Close())
}

type writer struct {
	tar     *tar.Writer
	written []string
}

func (w *writer) layout(tag name.Tag, built []made, index v1.ImageIndex) error {
	var top v1.Descriptor
	for _, m := range built {
		d, err := w.image(m.image)
		if err != nil {
			return err
		}
		d.Platform = &m.platform
		top = d
	}
	if index != nil {
		text, err := index.RawManifest()
		if err != nil {
			return err
		}
		if top, err = w.blob(types.OCIImageIndex, text); err != nil {
			return err
		}
	}
	top.Annotations = map[string]string{"io.containerd.image.name": full(tag), "org.opencontainers.image.ref.name": tag.TagStr()}
	docker, err := dockerManifest(tag, built[0].image)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		name    string
		content any
	}{
		{"oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}},
		{"index.json", v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{top}}},
		{"manifest.json", docker},
	} {
		text, err := json.Marshal(part.content)
		if err != nil {
			return err
		}
		if err := w.file(part.name, bytes.NewReader(text), int64(len(text))); err != nil {
			return err
		}
	}
	return nil
}

// image writes the layers, the config and the manifest of an image.
func (w *writer) image(image v1.Image) (v1.Descriptor, error) {
	layers, err := image.Layers()
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, l := range layers {
		if err := w.layer(l); err != nil {
			return v1.Descriptor{}, err
		}
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return v1.Descriptor{}, err
	}
	if _, err := w.blob(types.OCIConfigJSON, config); err != nil {
		return v1.Descriptor{}, err
	}
	manifest, err := image.RawManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	return w.blob(types.OCIManifestSchema1, manifest)
}

func (w *writer) layer(l v1.Layer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	size, err := l.Size()
	if err != nil {
		return err
	}
	r, err := l.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	return w.file(place(digest), r, size)
}

func (w *writer) blob(media types.MediaType, text []byte) (v1.Descriptor, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(text))
	if err != nil {
		return v1.Descriptor{}, err
	}
	return v1.Descriptor{MediaType: media, Digest: digest, Size: size}, w.file(place(digest), bytes.NewReader(text), size)
}

func place(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }

// file writes a file once: images of several platforms share what is the same.
func (w *writer) file(name string, r io.Reader, size int64) error {
	if slices.Contains(w.written, name) {
		return nil
	}
	w.written = append(w.written, name)
	h := &tar.Header{Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(w.tar, r)
	return err
}

// dockerManifest says to docker load what is where.
func dockerManifest(tag name.Tag, image v1.Image) (any, error) {
	m, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	var layers []string
	for _, l := range m.Layers {
		layers = append(layers, place(l.Digest))
	}
	return []map[string]any{{"Config": place(m.Config.Digest), "RepoTags": []string{full(tag)}, "Layers": layers}}, nil
}

// full is the name that Kubernetes gives an image that is named without a registry.
func full(tag name.Tag) string {
	return strings.Replace(tag.Name(), name.DefaultRegistry, "docker.io", 1)
}
