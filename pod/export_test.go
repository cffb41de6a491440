package pod

import (
	"maps"
	"slices"
)

// Variables are all that are understood, but for tags.
func Variables() []string { return slices.Concat(slices.Sorted(maps.Keys(settings)), others) }

// LastWords has what Kubernetes shall hear go to a file.
func LastWords(file string) (back func()) {
	before := terminationLog
	terminationLog = file
	return func() { terminationLog = before }
}
