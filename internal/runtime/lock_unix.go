//go:build unix

package runtime

import (
	"os"
	"syscall"
)

// tryLock takes an exclusive lock that ends with the file, or the process, whatever becomes of it.
func tryLock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
