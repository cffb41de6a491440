package sim

import (
	"math/rand/v2"
	"time"

	"github.com/millrace/millrace/internal/check"
	"github.com/millrace/millrace/streams"
)

// guarantees draws what the application promises and how many standbys it keeps.
func guarantees(r *rand.Rand) (g check.Guarantee, standbys int) {
	return pick(r, check.AtLeastOnce, check.ExactlyOnce), pick(r, 0, 0, 1, 2)
}

// promise returns the options of what was drawn.
func promise(p *plan) []streams.AppOption {
	opts := []streams.AppOption{streams.Standbys(p.standbys), streams.AcceptableRecoveryLag(p.lag), streams.ProbingRebalanceInterval(time.Minute)}
	if p.guarantee == check.ExactlyOnce {
		opts = append(opts, streams.ExactlyOnce(), streams.TransactionTimeout(10*time.Second))
	}
	return opts
}
