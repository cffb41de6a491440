//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// disk is where an instance keeps its state: a small file system of its own, so that it can be filled, or a directory
// where the system does not let us make one.
type disk struct {
	path   string
	small  bool
	filler string
}

const diskMiB = 96

func newDisk(path string) (*disk, error) {
	d := &disk{path: path, filler: filepath.Join(path, "filler")}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", diskMiB), "tmpfs", path).Run()
	d.small = err == nil
	return d, nil
}

// fill takes all the space there is.
func (d *disk) fill() error {
	f, err := os.Create(d.filler)
	if err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	return f.Close()
}

func (d *disk) free() error {
	if err := os.Remove(d.filler); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// wipe removes everything in it.
func (d *disk) wipe() error {
	entries, err := os.ReadDir(d.path)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(d.path, e.Name())))
	}
	return err
}

func (d *disk) close() {
	if d.small {
		_ = exec.Command("umount", "-l", d.path).Run() // what is left in it goes with the machine
	}
}
