// Check runs cases through Millrace and compares each with what Java Kafka Streams did:
//
//	check CASES EXPECTED
//
// Both files have one JSON object a line; a name that ends in .gz is decompressed. It prints the first difference of each
// case that differs, and closes with a line "N passed, M failed". Its exit code is 0 only where none failed.
package main

import (
	"fmt"
	"os"

	"github.com/millrace/millrace/test/oracle"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: check CASES EXPECTED")
		os.Exit(2)
	}
	passed, failed, err := oracle.Check(os.Args[1], os.Args[2], func(id, difference string) {
		fmt.Printf("case %s: %s\n", id, difference)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(2)
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
