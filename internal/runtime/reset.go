package runtime

import (
	"errors"
	"fmt"

	"github.com/millrace/millrace/internal/assign"
)

// ResetPolicy says where to begin with an input that has no committed offset, or not the one that was committed
// (auto.offset.reset).
type ResetPolicy uint8

// The policies.
const (
	ResetEarliest ResetPolicy = iota // at the beginning
	ResetLatest                      // with what comes from now on
	ResetNone                        // not at all: that is an error
)

func (r ResetPolicy) String() string {
	return [...]string{"earliest", "latest", "none"}[r]
}

func (r ResetPolicy) pick(p assign.TopicPartition, start, end int64) (int64, error) {
	switch r {
	case ResetEarliest:
		return start, nil
	case ResetLatest:
		return end, nil
	}
	return 0, fmt.Errorf("runtime: %v has no usable committed offset, and the reset policy is none; commit one, or allow "+
		"earliest or latest (option AutoOffsetReset)", p)
}

// outOfRange is implemented by the error of a source that does not have an offset.
type outOfRange interface {
	OffsetOutOfRange() (start, end int64)
}

func asOutOfRange(err error) (outOfRange, bool) {
	var e outOfRange
	ok := errors.As(err, &e)
	return e, ok
}
