package sim

import (
	"math/rand/v2"

	"github.com/millrace/millrace/internal/check"
	"github.com/millrace/millrace/streams"
)

// guarantees draws what the application promises and how many standbys it keeps.
func guarantees(r *rand.Rand) (g check.Guarantee, standbys int) {
	return pick(r, check.AtLeastOnce, check.ExactlyOnce), 0
}

// promise returns the options of what was drawn.
func promise(p *plan) []streams.AppOption {
	if p.guarantee == check.ExactlyOnce {
		return []streams.AppOption{streams.ExactlyOnce()}
	}
	return nil
}
