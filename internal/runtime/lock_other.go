//go:build !unix

package runtime

import "os"

// tryLock does nothing where there is no flock: on such systems it is for the user to give each process a directory.
func tryLock(*os.File) error { return nil }
