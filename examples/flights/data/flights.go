// Package flights holds 20,000 flights within the United States in the first quarter of 2001, as they were reported to
// the Bureau of Transportation Statistics: a stream with real lateness to try stream processing on.
package flights

import (
	"bytes"
	"cmp"
	"compress/gzip"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

//go:embed flights.csv.gz
var packed []byte

// Flight is one flight.
type Flight struct {
	Date        time.Time `json:"date"`        // to the minute; local time in the source, here read as UTC
	Delay       int       `json:"delay"`       // minutes; negative for a flight that was early
	Distance    int       `json:"distance"`    // miles
	Origin      string    `json:"origin"`      // airport, as IATA code
	Destination string    `json:"destination"` // airport, as IATA code
}

// Arrival returns when the flight comes in a stream of them: its date and its delay together. So a stream in the order
// of arrival is out of order in Date by up to hours.
func (f Flight) Arrival() time.Time {
	return f.Date.Add(time.Duration(f.Delay) * time.Minute)
}

// All returns the flights in the order of arrival, and those of the same minute in the order of their dates.
func All() ([]Flight, error) {
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("flights: %w", err)
	}
	flights, err := read(plain)
	if err != nil {
		return nil, fmt.Errorf("flights: %w", err)
	}
	slices.SortStableFunc(flights, func(a, b Flight) int {
		return cmp.Or(a.Arrival().Compare(b.Arrival()), a.Date.Compare(b.Date))
	})
	return flights, nil
}

// read reads lines of date (minutes since 1970), delay, distance, origin and destination.
func read(from io.Reader) ([]Flight, error) {
	lines := csv.NewReader(from)
	lines.FieldsPerRecord = 5
	lines.ReuseRecord = true
	var flights []Flight
	for {
		line, err := lines.Read()
		if err == io.EOF {
			return flights, nil
		}
		if err != nil {
			return nil, err
		}
		minutes, badDate := strconv.ParseInt(line[0], 10, 64)
		delay, badDelay := strconv.Atoi(line[1])
		distance, badDistance := strconv.Atoi(line[2])
		if err := errors.Join(badDate, badDelay, badDistance); err != nil {
			return nil, fmt.Errorf("flight %d: %w", len(flights)+1, err)
		}
		flights = append(flights, Flight{time.Unix(minutes*60, 0).UTC(), delay, distance, line[3], line[4]})
	}
}
