// Command generate packs the flights of vega-datasets for this project: it reads flights-20k.json on its standard input
// and writes flights.csv.gz to its standard output. See ../README.md.
package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	if err := pack(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func pack(from io.Reader, to io.Writer) error {
	var flights []struct {
		Date                string
		Delay, Distance     int
		Origin, Destination string
	}
	if err := json.NewDecoder(from).Decode(&flights); err != nil {
		return err
	}
	packed, err := gzip.NewWriterLevel(to, gzip.BestCompression)
	if err != nil {
		return err
	}
	for i, f := range flights {
		date, err := time.Parse("2006/01/02 15:04", f.Date)
		if err != nil {
			return fmt.Errorf("flight %d: %w", i+1, err)
		}
		if _, err := fmt.Fprintf(packed, "%d,%d,%d,%s,%s\n", date.Unix()/60, f.Delay, f.Distance, f.Origin, f.Destination); err != nil {
			return err
		}
	}
	return packed.Close()
}
