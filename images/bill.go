package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"runtime/debug"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// bill says what a program is made of, in CycloneDX: the modules that are compiled into it, by what the toolchain wrote there, and Go's
// own library. It has no time and no number of its own, so that it is the same each time.
func bill(program string, text []byte, info *buildinfo.BuildInfo) ([]byte, error) {
	sum := sha256.Sum256(text)
	main := module(&info.Main)
	main.Type, main.BOMRef = cdx.ComponentTypeApplication, "program"
	main.Name = program
	main.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}}
	properties := []cdx.Property{{Name: "go:package", Value: info.Path}}
	for _, s := range info.Settings {
		properties = append(properties, cdx.Property{Name: "go:build:" + s.Key, Value: s.Value})
	}
	main.Properties = &properties

	version := strings.TrimPrefix(info.GoVersion, "go")
	std := cdx.Component{Type: cdx.ComponentTypeLibrary, Name: "std", Version: info.GoVersion, PackageURL: "pkg:golang/std@" + version}
	std.BOMRef = std.PackageURL
	parts := []cdx.Component{std}
	for _, d := range info.Deps {
		parts = append(parts, module(d))
	}
	var refs []string
	for _, p := range parts {
		refs = append(refs, p.BOMRef)
	}
	b := cdx.NewBOM()
	b.Metadata = &cdx.Metadata{Component: &main}
	b.Components = &parts
	b.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}
	var out bytes.Buffer
	err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(b)
	return out.Bytes(), err
}

// module is a module as it is compiled in: of one that is replaced, what replaces it, unless that is a folder.
func module(m *debug.Module) cdx.Component {
	name, version, sum := m.Path, m.Version, m.Sum
	if r := m.Replace; r != nil && r.Version != "" {
		name, version, sum = r.Path, r.Version, r.Sum
	}
	c := cdx.Component{Type: cdx.ComponentTypeLibrary, Name: name, Version: version, PackageURL: "pkg:golang/" + name}
	if version != "" && version != "(devel)" {
		c.PackageURL += "@" + strings.ReplaceAll(version, "+", "%2B")
	}
	c.BOMRef = c.PackageURL
	if sum != "" {
		c.Properties = &[]cdx.Property{{Name: "go:sum", Value: sum}}
	}
	return c
}
