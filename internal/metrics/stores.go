package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Store is what a store did since it was opened, and what it takes. What it did is as of its last commit.
type Store struct {
	Task, Name string

	Gets, CacheHits uint64 // reads of a key, and those that memory answered
	Puts            uint64 // changes
	Logged          uint64 // changes that went to the changelog: fewer, where the record cache holds them back
	Scans           uint64 // ranges that were read
	Restored        uint64 // records restored

	Disk *Disk // nil: it is in memory
}

// Disk is what a store has on disk.
type Disk struct {
	MemTables          uint64  // bytes
	Files              int64   // how many
	FileBytes          int64   // how large they are
	PendingCompaction  uint64  // bytes that are to be rewritten
	RunningCompactions int64   // how many
	Written            uint64  // bytes, flushes and compactions
	Amplification      float64 // files that a read may have to look into
}

// stores asks the stores that are open when it is collected.
type stores struct {
	of       atomic.Pointer[func() []Store]
	perStore []storeMetric
}

// storeMetric is one number of a store.
type storeMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	get  func(*Store) (v float64, ok bool)
}

func newStores(labels prometheus.Labels) *stores {
	s := &stores{}
	add := func(kind prometheus.ValueType, name, help string, get func(*Store) (float64, bool)) {
		d := prometheus.NewDesc(prefix+"state_"+name, help, []string{"task", "store"}, labels)
		s.perStore = append(s.perStore, storeMetric{d, kind, get})
	}
	count := func(name, help string, get func(*Store) uint64) {
		add(prometheus.CounterValue, name, help, func(s *Store) (float64, bool) { return float64(get(s)), true })
	}
	disk := func(kind prometheus.ValueType, name, help string, get func(*Disk) float64) {
		add(kind, name, help, func(s *Store) (float64, bool) {
			if s.Disk == nil {
				return 0, false
			}
			return get(s.Disk), true
		})
	}
	count("get_total", "Reads of a key.", func(s *Store) uint64 { return s.Gets })
	count("get_hit_total", "Reads of a key that memory answered.", func(s *Store) uint64 { return s.CacheHits })
	count("put_total", "Changes of a key.", func(s *Store) uint64 { return s.Puts })
	count("log_total", "Changes that were written to the changelog.", func(s *Store) uint64 { return s.Logged })
	count("range_total", "Ranges read.", func(s *Store) uint64 { return s.Scans })
	count("restore_total", "Records restored since the store was opened.", func(s *Store) uint64 { return s.Restored })
	disk(prometheus.GaugeValue, "size_all_mem_tables", "Bytes in memory that wait to be written to a file.", func(d *Disk) float64 { return float64(d.MemTables) })
	disk(prometheus.GaugeValue, "num_sst_files", "Files.", func(d *Disk) float64 { return float64(d.Files) })
	disk(prometheus.GaugeValue, "total_sst_files_size", "Bytes of all files.", func(d *Disk) float64 { return float64(d.FileBytes) })
	disk(prometheus.GaugeValue, "compaction_pending_bytes", "Bytes that are to be rewritten.", func(d *Disk) float64 { return float64(d.PendingCompaction) })
	disk(prometheus.GaugeValue, "num_running_compactions", "Compactions that run.", func(d *Disk) float64 { return float64(d.RunningCompactions) })
	disk(prometheus.CounterValue, "bytes_written_total", "Bytes written to files, by flushes and compactions.", func(d *Disk) float64 { return float64(d.Written) })
	disk(prometheus.GaugeValue, "read_amplification", "Files that a read may have to look into.", func(d *Disk) float64 { return d.Amplification })
	return s
}

// Describe implements prometheus.Collector.
func (s *stores) Describe(to chan<- *prometheus.Desc) {
	for _, m := range s.perStore {
		to <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (s *stores) Collect(to chan<- prometheus.Metric) {
	of := s.of.Load()
	if of == nil {
		return
	}
	for _, st := range (*of)() {
		for _, m := range s.perStore {
			if v, ok := m.get(&st); ok {
				to <- prometheus.MustNewConstMetric(m.desc, m.kind, v, st.Task, st.Name)
			}
		}
	}
}
