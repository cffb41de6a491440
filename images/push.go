package main

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// cycloneDX is the type of what says what an image is made of.
const cycloneDX types.MediaType = "application/vnd.cyclonedx+json"

// push writes images to their registry, with the login that docker's configuration has, and what each is made of as an artifact that
// refers to it.
func push(ctx context.Context, tag name.Tag, built []made, index v1.ImageIndex) error {
	opts := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	var err error
	if index != nil {
		err = remote.WriteIndex(tag, index, opts...)
	} else {
		err = remote.Write(tag, built[0].image, opts...)
	}
	if err != nil {
		return fmt.Errorf("pushing %s: %w", tag, err)
	}
	for _, m := range built {
		artifact, err := refer(m)
		if err != nil {
			return err
		}
		digest, err := artifact.Digest()
		if err != nil {
			return err
		}
		if err := remote.Write(tag.Digest(digest.String()), artifact, opts...); err != nil {
			return fmt.Errorf("pushing what %s is made of: %w", tag, err)
		}
	}
	return nil
}

// refer makes the artifact that says what an image is made of.
func refer(m made) (v1.Image, error) {
	manifest, err := m.image.RawManifest()
	if err != nil {
		return nil, err
	}
	digest, err := m.image.Digest()
	if err != nil {
		return nil, err
	}
	artifact := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), cycloneDX)
	artifact, err = mutate.AppendLayers(artifact, static.NewLayer(m.materials, cycloneDX))
	if err != nil {
		return nil, err
	}
	subject := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: int64(len(manifest))}
	return mutate.Subject(artifact, subject).(v1.Image), nil
}
