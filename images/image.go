package main

import (
	"archive/tar"
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// made is an image of one platform.
type made struct {
	platform  v1.Platform
	image     v1.Image
	materials []byte // in CycloneDX
}

// pack makes the image of a program that is compiled.
func pack(o options, p v1.Platform, program string) (made, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return made{}, err
	}
	at, err := epoch()
	if err != nil {
		return made{}, err
	}
	base, err := ground(o, at)
	if err != nil {
		return made{}, err
	}
	text, err := os.ReadFile(program)
	if err != nil {
		return made{}, err
	}
	entry := "/" + filepath.Base(program)
	top, err := layer(at, file{name: entry, mode: 0o755, text: text})
	if err != nil {
		return made{}, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: p.Architecture, OS: p.OS, Variant: p.Variant, Created: v1.Time{Time: at},
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{entry}, User: o.user, WorkingDir: "/",
			Env:    []string{"PATH=/", "SSL_CERT_FILE=" + certificates},
			Labels: labels(o, filepath.Base(program), info),
		},
	})
	if err != nil {
		return made{}, err
	}
	if image, err = mutate.Append(image, mutate.Addendum{Layer: base, History: history(at, "certificates and the user")},
		mutate.Addendum{Layer: top, History: history(at, info.Path)}); err != nil {
		return made{}, err
	}
	bill, err := bill(filepath.Base(program), text, info)
	return made{platform: p, image: image, materials: bill}, err
}

func history(at time.Time, what string) v1.History {
	return v1.History{Created: v1.Time{Time: at}, CreatedBy: "images: " + what}
}

// certificates is where Go looks for authorities that it trusts.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

// ground is the layer below the program: the same for all programs, as long as the certificates are.
func ground(o options, at time.Time) (v1.Layer, error) {
	uid, gid, _ := strings.Cut(o.user, ":")
	if gid == "" {
		gid = uid
	}
	files := []file{
		{name: "/etc/", mode: 0o755}, {name: "/etc/passwd", mode: 0o644, text: []byte("nonroot:x:" + uid + ":" + gid + ":nonroot:/:/none\n")},
		{name: "/tmp/", mode: 0o1777},
	}
	text, err := os.ReadFile(o.certs)
	switch {
	case o.certs == "" || errors.Is(err, fs.ErrNotExist):
		fmt.Fprintln(os.Stderr, "images: there are no certificates of authorities in the image")
	case err != nil:
		return nil, err
	default:
		files = append(files, file{name: "/etc/ssl/", mode: 0o755}, file{name: "/etc/ssl/certs/", mode: 0o755}, file{name: certificates, mode: 0o644, text: text})
	}
	return layer(at, files...)
}

// A file of an image; one whose name ends in a slash is a folder.
type file struct {
	name string
	mode int64
	text []byte
}

// layer holds files, all of root.
func layer(at time.Time, files ...file) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: strings.TrimPrefix(f.name, "/"), Mode: f.mode, Size: int64(len(f.text)), ModTime: at, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
}

// labels are what the build says of itself, and what the flags say.
func labels(o options, program string, info *buildinfo.BuildInfo) map[string]string {
	l := map[string]string{"org.opencontainers.image.title": program}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			l["org.opencontainers.image.revision"] = s.Value
		}
	}
	if tag := o.tag.TagStr(); tag != "latest" {
		l["org.opencontainers.image.version"] = tag
	}
	maps.Copy(l, o.labels)
	return l
}

// epoch is the time of everything in the image: SOURCE_DATE_EPOCH, or the beginning of 1970.
func epoch() (time.Time, error) {
	said := os.Getenv("SOURCE_DATE_EPOCH")
	if said == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	n, err := strconv.ParseInt(said, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH=%s is no number of seconds", said)
	}
	return time.Unix(n, 0).UTC(), nil
}

// join makes one of the images of several platforms; nil if there is one only.
func join(built []made) (v1.ImageIndex, error) {
	if len(built) == 1 {
		return nil, nil
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, m := range built {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: m.image, Descriptor: v1.Descriptor{Platform: &m.platform}})
	}
	return index, nil
}

// digest names what was built.
func digest(built []made, index v1.ImageIndex) (v1.Hash, error) {
	if index != nil {
		return index.Digest()
	}
	return built[0].image.Digest()
}
