// Command millrace is the command line of Millrace; `millrace help` lists what it can do.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		os.Exit(1) // cobra has printed it
	}
}

func command() *cobra.Command {
	c := &cobra.Command{
		Use:          "millrace",
		Short:        "Stateful stream processing on Apache Kafka",
		SilenceUsage: true,
	}
	c.AddCommand(devCommand(), resetCommand(), versionCommand())
	return c
}
