package store

import (
	"sync"

	"github.com/millrace/millrace/internal/metrics"
)

// counts are what a store did. They are counted by the goroutine that uses the store, and published for others now and
// then: at commits, and while it is restored.
type counts struct {
	now    metrics.Store
	shared struct {
		sync.Mutex
		metrics.Store
	}
}

func (s *Store) publish() {
	s.counts.shared.Lock()
	s.counts.shared.Store = s.counts.now
	s.counts.shared.Unlock()
}

// registry are the stores that are open.
type registry struct {
	sync.Mutex
	stores map[*Store]bool
}

func (r *registry) add(s *Store) {
	r.Lock()
	defer r.Unlock()
	if r.stores == nil {
		r.stores = make(map[*Store]bool)
	}
	r.stores[s] = true
}

// remove waits until nobody looks at the store.
func (r *registry) remove(s *Store) {
	r.Lock()
	defer r.Unlock()
	delete(r.stores, s)
}

// Stats returns what the stores that are open did, and take.
func (r *Resources) Stats() []metrics.Store {
	r.open.Lock()
	defer r.open.Unlock()
	all := make([]metrics.Store, 0, len(r.open.stores))
	for s := range r.open.stores {
		s.counts.shared.Lock()
		st := s.counts.shared.Store
		s.counts.shared.Unlock()
		st.Task, st.Name = s.Task.String(), s.Config.Spec.Name
		if d, ok := s.engine.(*disk); ok {
			st.Disk = d.stats()
		}
		all = append(all, st)
	}
	return all
}

func (d *disk) stats() *metrics.Disk {
	m := d.db.Metrics()
	total := m.Total()
	return &metrics.Disk{
		MemTables: m.MemTable.Size, Files: total.TablesCount, FileBytes: total.TablesSize, PendingCompaction: m.Compact.EstimatedDebt,
		RunningCompactions: m.Compact.NumInProgress, Written: total.TableBytesFlushed + total.TableBytesCompacted,
		Amplification: float64(m.ReadAmp()),
	}
}
