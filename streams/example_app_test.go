package streams_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/streams"
)

// What an application says of itself while it runs, and what can be asked of it.
func ExampleApp_Status() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	app, _, stop := visits(ctx)
	defer stop()

	fmt.Println(app.SetWorkers(ctx, 2))
	fmt.Println(app.Tasks(), len(app.Restores()), "restores")
	tasks, err := app.Status(ctx)
	fmt.Println(tasks[0].ID, tasks[0].Role == streams.RoleActive, err)
	lags, err := app.Lags(ctx)
	fmt.Println(len(lags), "stores", err)
	families, err := app.Metrics().Gather()
	fmt.Println(len(families) > 10, err)

	app.Pause() // commits, and stays in the group
	fmt.Println("paused:", app.Paused())
	app.Resume()

	app.SetDeparture(streams.DepartLeave) // others shall have its tasks at once, but there are none:
	full, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	fmt.Println(app.Drain(full), app.Draining())
	app.EndDrain()
	fmt.Println(app.RemoveMember(ctx, "shop-7")) // a process that is gone for good

	report := app.Report(ctx) // as JSON at /status
	fmt.Println(report.State, report.TaskCount, "task", report.Tasks[0].Inputs[0].Topic)

	ready := httptest.NewRecorder()
	app.Handler().ServeHTTP(ready, httptest.NewRequest(http.MethodGet, "/livez", nil))
	fmt.Println(ready.Code)
	// Output:
	// <nil>
	// [0_0] 0 restores
	// 0_0 true <nil>
	// 4 stores <nil>
	// true <nil>
	// paused: true
	// context deadline exceeded true
	// <nil>
	// RUNNING 1 task visits
	// 200
}

// The processes of an application find each other by what they gave as Endpoint.
func ExampleApp_Hosts() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	app, _, stop := visits(ctx)
	defer stop()

	hosts, err := app.Hosts()
	fmt.Println(hosts[0].Endpoint, hosts[0].Active, err)
	hosts, err = app.HostsOf("visits-by-user")
	fmt.Println(len(hosts), "has it", err)
	// Output:
	// localhost:8080 [0_0] <nil>
	// 1 has it <nil>
}

// The methods of the readers. MaxLag lets copies answer that are up to date enough, Copies any, and InPartition says which partition
// to read.
func ExampleReader() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	app, last, stop := visits(ctx)
	defer stop()

	fresh, err := app.Store("visits-by-user", serde.String, serde.Int64, streams.AtLeast(last), streams.InPartition(0))
	if err != nil {
		panic(err)
	}
	row, ok, err := fresh.Row(ctx, "ada")
	fmt.Println(row.Value, row.Time.Unix(), ok, err)
	counts, err := app.Store("visits-by-user", serde.String, serde.Int64, streams.Copies(), streams.MaxLag(100))
	if err != nil {
		panic(err)
	}
	for row, err := range counts.All(ctx) {
		fmt.Println("all", row.Key, err)
	}
	for row, err := range counts.Backward(ctx) {
		fmt.Println("backward", row.Key, err)
	}
	for row, err := range counts.RangeBackward(ctx, "b", "z") {
		fmt.Println("range", row.Key, err)
	}
	for row, err := range counts.Prefix(ctx, []byte("a")) {
		fmt.Println("prefix", row.Key, err)
	}

	hours, err := app.WindowStore("visits-by-hour", serde.String, serde.Int64)
	if err != nil {
		panic(err)
	}
	for row, err := range hours.All(ctx, time.Unix(0, 0), time.Unix(2_000_000_000, 0)) {
		if err != nil {
			panic(err)
		}
		n, _, err := hours.Get(ctx, row.Key.Key, row.Key.Start())
		fmt.Println("hour", row.Key, n, err)
	}
	sessions, err := app.SessionStore("sessions", serde.String, serde.Int64)
	if err != nil {
		panic(err)
	}
	for row, err := range sessions.All(ctx, time.Unix(0, 0), time.Unix(2_000_000_000, 0)) {
		if err != nil {
			panic(err)
		}
		n, _, err := sessions.Get(ctx, row.Key.Key, row.Key.Start(), row.Key.End())
		fmt.Println("session", row.Key, n, err)
	}
	// Output:
	// 3 1700002160 true <nil>
	// all ada <nil>
	// all bob <nil>
	// all eve <nil>
	// backward eve <nil>
	// backward bob <nil>
	// backward ada <nil>
	// range eve <nil>
	// range bob <nil>
	// prefix ada <nil>
	// hour [ada@1699999200000/1700002800000] 3 <nil>
	// hour [bob@1699999200000/1700002800000] 1 <nil>
	// hour [eve@1699999200000/1700002800000] 1 <nil>
	// session [ada@1700000000000/1700000000000] 1 <nil>
	// session [bob@1700000540000/1700000540000] 1 <nil>
	// session [ada@1700001080000/1700001080000] 1 <nil>
	// session [eve@1700001620000/1700001620000] 1 <nil>
	// session [ada@1700002160000/1700002160000] 1 <nil>
}
