// Command program says that it runs.
package main

import (
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
)

var version = "none"

func main() { fmt.Println(version, name.DefaultRegistry) }
