package pod

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/millrace/millrace/streams"
)

// What the parts of an application get of the memory that its container may take, in hundredths. The rest of what the garbage
// collector keeps to is for input, output and the program; what is left is for the runtime, threads and the kernel.
const (
	shareBlocks  = 15
	shareOverlay = 10
	shareRecords = 5
	shareGo      = 90
)

// memory divides what the container may take, by its cgroup or by MILLRACE_MEMORY_LIMIT. Without a limit all is as by default.
func (e environment) memory() ([]streams.AppOption, error) {
	limit, err := e.memoryLimit()
	if err != nil || limit == 0 {
		return nil, err
	}
	const mib = 1 << 20
	blocks := max(limit*shareBlocks/100, mib)
	total := limit * shareGo / 100
	if manual { // blocks are not the garbage collector's then
		total -= blocks
	}
	return []streams.AppOption{
		streams.BlockCache(blocks), streams.Overlay(max(limit*shareOverlay/100, mib)), streams.RecordCache(limit * shareRecords / 100), streams.MemoryLimit(total),
	}, nil
}

// memoryLimit returns 0 where there is none.
func (e environment) memoryLimit() (int64, error) {
	const most, least = 1 << 50, 32 << 20
	if s := e["MILLRACE_MEMORY_LIMIT"]; s != "" {
		n, err := parseBytes(s)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("pod: MILLRACE_MEMORY_LIMIT=%s is no number of bytes, as 536870912 or 512Mi, of at least 32Mi", s)
		}
		return n, nil
	}
	n, err := memlimit.FromCgroup()
	switch {
	case errors.Is(err, memlimit.ErrNoLimit), errors.Is(err, memlimit.ErrNoCgroup), errors.Is(err, memlimit.ErrCgroupsNotSupported):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("pod: the memory limit of the container cannot be read: %w; set MILLRACE_MEMORY_LIMIT", err)
	case n < least || n > most: // of the first nothing can be divided, the second is none
		return 0, nil
	}
	return int64(n), nil
}

// parseBytes reads a number of bytes with the suffixes of Kubernetes.
func parseBytes(s string) (int64, error) {
	factor := int64(1)
	for suffix, f := range map[string]int64{"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 1e3, "M": 1e6, "G": 1e9} {
		if digits, ok := strings.CutSuffix(s, suffix); ok {
			s, factor = digits, f
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil && n > (1<<62)/factor {
		err = strconv.ErrRange
	}
	return n * factor, err
}
