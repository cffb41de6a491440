package main

import (
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

// usage is the time, and what the process has used of the processor until then.
type usage struct {
	at  float64 // milliseconds since the epoch
	cpu float64 // seconds, user and system
}

func nowMs() float64 { return float64(time.Now().UnixMicro()) / 1e3 }

func usageNow() usage {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{nowMs(), -1}
	}
	return usage{nowMs(), float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9}
}

// profile writes a profile of the processor's time to a file until it is stopped.
func profile(name string) (stop func(), err error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "app:", err)
		}
	}, nil
}

// memory returns a field of the process's status in MiB, or -1 where the system does not tell.
func memory(field string) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			var kb float64
			if _, err := fmt.Sscan(rest, &kb); err == nil {
				return kb / 1024
			}
		}
	}
	return -1
}
