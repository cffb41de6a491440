//go:build unix

package kafkatest

// Option changes how a cluster is made.
type Option func(*options)

type options struct {
	brokers  int
	port     int
	dir      string
	heapMiB  int
	guarded  bool
	outside  address
	settings [][2]string
}

// address is where a listener listens, and the host that it advertises.
type address struct{ listen, host string }

func defaults() options { return options{brokers: 1, heapMiB: 512} }

// Brokers sets the number of brokers, each of which is a controller too; default 1. With 3 or more, topics have 3
// replicas of which 2 must be in sync.
func Brokers(n int) Option { return func(o *options) { o.brokers = n } }

// Port sets the port of the first broker; the others take the ports that follow. Default: free ports.
func Port(port int) Option { return func(o *options) { o.port = port } }

// Dir sets the directory for data and logs; default a new temporary one. The brokers' folders in it, broker-1 and so
// on, are removed when the cluster stops.
func Dir(dir string) Option { return func(o *options) { o.dir = dir } }

// Heap sets the largest heap of each broker in MiB; default 512.
func Heap(mib int) Option { return func(o *options) { o.heapMiB = mib } }

// Guarded adds a listener that asks for a user and a password, by PLAIN or SCRAM: see [Cluster.Guarded]. There users may do
// what ACLs allow; at the other listener everybody may do everything. It costs no time.
func Guarded() Option { return func(o *options) { o.guarded = true } }

// Outside adds a listener for clients that reach this machine by another name, as pods do: see [Cluster.Outside]. It listens at an
// address of this machine and advertises host, at the same port. Everybody may do everything there.
func Outside(listen, host string) Option {
	return func(o *options) { o.outside = address{listen, host} }
}

// Setting sets a broker setting, as in server.properties. It overrides this package's own, which are: no topic is
// created by asking for it, no retention and no bounds on timestamps, no delay before a first rebalance, session
// timeouts from 1 s on, a dead broker is noticed after 5 s.
func Setting(key, value string) Option {
	return func(o *options) { o.settings = append(o.settings, [2]string{key, value}) }
}
