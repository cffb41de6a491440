package pod

import (
	"maps"
	"slices"
)

// Variables are all that are understood, but for tags.
func Variables() []string { return slices.Concat(slices.Sorted(maps.Keys(settings)), others) }
