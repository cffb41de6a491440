package streams

import (
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/millrace/millrace/topology"
)

// Endpoint sets where this process answers questions about its stores, as "host:port". Millrace does not listen there: it
// tells the other processes of the application, which find it with [App.Hosts]. Default none. (Java: application.server)
func Endpoint(address string) AppOption { return func(c *appConfig) { c.endpoint = address } }

// A Host is a process of the application that gave an [Endpoint], and the tasks that it runs and keeps copies of, by the
// group's last assignment. (Java: StreamsMetadata)
type Host struct {
	Endpoint         string
	Active, Standbys []topology.TaskID
}

func (h Host) runs(id topology.TaskID) bool   { return slices.Contains(h.Active, id) }
func (h Host) copies(id topology.TaskID) bool { return slices.Contains(h.Standbys, id) }

// Hosts returns the processes of the application that gave an [Endpoint], this one too, in the order of their hosts. It
// fails while the application does not run. (Java: metadataForAllStreamsClients)
func (a *App) Hosts() ([]Host, error) {
	known, err := a.instance.Load().Hosts()
	if err != nil {
		return nil, err
	}
	var hosts []Host
	for _, h := range known {
		hosts = append(hosts, Host{net.JoinHostPort(h.Host, strconv.Itoa(int(h.Port))), h.Active, h.Standby})
	}
	return hosts, nil
}

// HostsOf returns those of [App.Hosts] that have a partition of a store, or a copy of one, with no other tasks than those of
// the store; all have one that is global. (Java: streamsMetadataForStore)
func (a *App) HostsOf(store string) ([]Host, error) {
	if a.cfg.topology.Store(store) == nil {
		return nil, fmt.Errorf("streams: the topology has no store %q", store)
	}
	at, err := a.instance.Load().Locate(store)
	if err != nil {
		return nil, err
	}
	all, err := a.Hosts()
	if err != nil || at.Global {
		return all, err
	}
	var hosts []Host
	others := func(id topology.TaskID) bool { return !slices.Contains(at.Tasks, id) }
	for _, h := range all {
		h.Active, h.Standbys = slices.DeleteFunc(h.Active, others), slices.DeleteFunc(h.Standbys, others)
		if len(h.Active)+len(h.Standbys) > 0 {
			hosts = append(hosts, h)
		}
	}
	return hosts, nil
}

// Home is where a partition of a store is: the endpoints of the process that runs its task and of those that keep copies.
// Active is empty where no process with an [Endpoint] has it, by the group's last assignment. (Java: KeyQueryMetadata)
type Home struct {
	Partition int32
	Active    string
	Standbys  []string
}

func (a *App) home(id topology.TaskID) (Home, error) {
	if id.Partition < 0 { // of a global store
		return Home{Active: a.cfg.endpoint}, nil
	}
	h := Home{Partition: id.Partition}
	hosts, err := a.Hosts()
	for _, host := range hosts {
		switch {
		case host.runs(id):
			h.Active = host.Endpoint
		case host.copies(id):
			h.Standbys = append(h.Standbys, host.Endpoint)
		}
	}
	return h, err
}
