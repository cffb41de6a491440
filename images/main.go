// Command images builds a program into an image from scratch: the program, static, certificates, and nothing else. It needs Go and no
// daemon.
//
//	go run . -image shop/orders:1.4.2 -o orders.tar ../examples/orders   a file for docker load, ctr images import, kind load image-archive
//	go run . -image registry.example/shop/orders:1.4.2 -push ../examples/orders
//
// PACKAGE is the folder of a main package, of whichever module, or an import path. Same source, same toolchain and same certificates give the
// same digest. Beside the image goes what it is made of, in CycloneDX: as a file, and in a registry as what refers to the image.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	pkg       string
	tag       name.Tag
	platforms []v1.Platform
	archive   string
	push      bool
	ldflags   string
	tags      string
	certs     string
	user      string
	labels    map[string]string
}

func parse(args []string) (options, error) {
	o := options{labels: make(map[string]string)}
	f := flag.NewFlagSet("images", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: images [flags] PACKAGE")
		f.PrintDefaults()
	}
	image := f.String("image", "", "`name:tag` of the image")
	platforms := f.String("platform", "linux/"+runtime.GOARCH, "`platforms`, with commas: linux/amd64,linux/arm64")
	f.StringVar(&o.archive, "o", "", "`file` to write the image to, a tar archive")
	f.BoolVar(&o.push, "push", false, "push the image to its registry")
	f.StringVar(&o.ldflags, "ldflags", "", "`flags` of the linker, besides -s -w: \"-X main.version=1.4.2\"")
	f.StringVar(&o.tags, "tags", "", "build `tags`, with commas")
	f.StringVar(&o.certs, "certs", "/etc/ssl/certs/ca-certificates.crt", "`file` with the certificates of authorities; none if it is empty or not there")
	f.StringVar(&o.user, "user", "65532:65532", "`uid:gid` that the program runs as")
	f.Func("label", "a label as `name=value`; may be given several times", func(s string) error {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want name=value")
		}
		o.labels[key] = value
		return nil
	})
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() != 1 {
		return o, errors.New("name one PACKAGE, the folder of a main package; -help lists the flags")
	}
	o.pkg = f.Arg(0)
	if *image == "" {
		return o, errors.New("-image is missing: the name and tag of the image")
	}
	if o.archive == "" && !o.push {
		return o, errors.New("say where the image goes: -o FILE, or -push")
	}
	var err error
	if o.tag, err = name.NewTag(*image); err != nil {
		return o, fmt.Errorf("-image: %w", err)
	}
	for p := range strings.SplitSeq(*platforms, ",") {
		platform, err := v1.ParsePlatform(strings.TrimSpace(p))
		if err != nil || platform.OS == "" || platform.Architecture == "" {
			return o, fmt.Errorf("-platform: %q is none: write it as linux/amd64", p)
		}
		o.platforms = append(o.platforms, *platform)
	}
	return o, nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "images-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var built []made
	for _, p := range o.platforms {
		file, err := compile(ctx, o, p, dir)
		if err != nil {
			return err
		}
		m, err := pack(o, p, file)
		if err != nil {
			return err
		}
		built = append(built, m)
	}
	index, err := join(built)
	if err != nil {
		return err
	}
	if o.archive != "" {
		if err := archive(o.archive, o.tag, built, index); err != nil {
			return err
		}
	}
	for _, m := range built {
		if err := os.WriteFile(materials(o, m), m.materials, 0o644); err != nil {
			return err
		}
	}
	if o.push {
		if err := push(ctx, o.tag, built, index); err != nil {
			return err
		}
	}
	digest, err := digest(built, index)
	if err != nil {
		return err
	}
	fmt.Printf("%s@%s\n", o.tag, digest)
	return nil
}

// materials is the file that says what an image is made of, beside the archive, or in the working directory.
func materials(o options, m made) string {
	base := strings.TrimSuffix(o.archive, ".tar")
	if base == "" {
		base = filepath.Base(o.tag.RepositoryStr())
	}
	if len(o.platforms) > 1 {
		base += "-" + strings.ReplaceAll(m.platform.String(), "/", "-")
	}
	return base + ".cdx.json"
}
