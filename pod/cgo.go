//go:build cgo

package pod

// manual says that Pebble's block cache is memory outside the garbage collector's.
const manual = true
